fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)

for i in 0:10
    println("fib($i) = $(fib(i))")
end
