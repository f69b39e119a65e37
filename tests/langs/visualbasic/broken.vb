Imports System

Module Program
    Sub Main()
        Console.WriteLine("never printed"
    End Sub
End Module
