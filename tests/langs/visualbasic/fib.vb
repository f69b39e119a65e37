Imports System

Module Program
    Function Fib(n As Integer) As Integer
        Return If(n < 2, n, Fib(n - 1) + Fib(n - 2))
    End Function

    Sub Main()
        For i As Integer = 0 To 10
            Console.WriteLine($"fib({i}) = {Fib(i)}")
        Next
    End Sub
End Module
