using System;
using System.Collections.Generic;

class Program
{
    static void Main()
    {
        var chunks = new List<byte[]>();
        while (true)
        {
            var chunk = new byte[1 << 20];
            Array.Fill(chunk, (byte)1);
            chunks.Add(chunk);
        }
    }
}
