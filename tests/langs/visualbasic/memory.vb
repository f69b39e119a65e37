Imports System
Imports System.Collections.Generic

Module Program
    Sub Main()
        Dim chunks As New List(Of Byte())
        While True
            Dim chunk(1048575) As Byte
            Array.Fill(Of Byte)(chunk, 1)
            chunks.Add(chunk)
        End While
    End Sub
End Module
