open System.IO

printf "%s" (File.ReadAllText "data.txt")
