let rec grow chunks = grow (Bytes.make (1 lsl 20) 'x' :: chunks)

let () = grow []
