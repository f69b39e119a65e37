function fib(n) {
	return n < 2 ? n : fib(n - 1) + fib(n - 2)
}

BEGIN {
	for (i = 0; i <= 10; i++)
		printf "fib(%d) = %d\n", i, fib(i)
}
