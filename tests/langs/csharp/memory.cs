using System.Collections.Generic;

class Program
{
    static void Main()
    {
        var chunks = new List<byte[]>();
        while (true)
        {
            var chunk = new byte[1 << 20];
            for (int i = 0; i < chunk.Length; i += 1024)
                chunk[i] = 1;
            chunks.Add(chunk);
        }
    }
}
