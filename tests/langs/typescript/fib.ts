const fib = (n: number): number => (n < 2 ? n : fib(n - 1) + fib(n - 2));

for (let i: number = 0; i <= 10; i++) console.log(`fib(${i}) = ${fib(i)}`);
