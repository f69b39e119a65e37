def fib(n
  n
