using System;

Console.WriteLine("never printed";
