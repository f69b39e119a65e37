open System.Collections.Generic

let chunks = List<byte[]>()

while true do
    chunks.Add(Array.create (1 <<< 20) 1uy)
