import std.stdio;

int fib(int n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

void main()
{
    foreach (i; 0 .. 11)
        writeln("fib(", i, ") = ", fib(i));
}
