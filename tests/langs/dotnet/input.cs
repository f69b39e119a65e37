using System;
using System.IO;

Console.Write(File.ReadAllText("data.txt"));
