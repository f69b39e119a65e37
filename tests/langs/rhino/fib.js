function fib(n) {
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

for (var i = 0; i <= 10; i++)
	print("fib(" + i + ") = " + fib(i));
