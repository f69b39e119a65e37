int fib(int n) => n < 2 ? n : fib(n - 1) + fib(n - 2);

void main() {
  for (var i = 0; i <= 10; i++) {
    print('fib($i) = ${fib(i)}');
  }
}
