function fib(n: number): number {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

for (let i = 0; i <= 10; i++) console.log(`fib(${i}) = ${fib(i)}`);
