Imports System
Imports System.IO

Module Program
    Sub Main()
        Console.Write(File.ReadAllText("data.txt"))
    End Sub
End Module
