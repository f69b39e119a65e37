using System;

class Program
{
    static int Fib(int n)
    {
        return n < 2 ? n : Fib(n - 1) + Fib(n - 2);
    }

    static void Main()
    {
        for (int i = 0; i <= 10; i++)
            Console.WriteLine("fib({0}) = {1}", i, Fib(i));
    }
}
