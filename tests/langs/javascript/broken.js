function fib( {
  return 1;
