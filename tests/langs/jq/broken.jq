def fib: if . < 2 then
