using System;

for (int i = 0; i <= 10; i++)
    Console.WriteLine($"fib({i}) = {Fib(i)}");

static int Fib(int n) => n < 2 ? n : Fib(n - 1) + Fib(n - 2);
