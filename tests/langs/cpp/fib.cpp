#include <iostream>

static int fib(int n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main()
{
	for (int i = 0; i <= 10; i++)
		std::cout << "fib(" << i << ") = " << fib(i) << '\n';
}
