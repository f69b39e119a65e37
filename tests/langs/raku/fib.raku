sub fib(Int $n) { $n < 2 ?? $n !! fib($n - 1) + fib($n - 2) }

say "fib($_) = {fib($_)}" for 0..10;
