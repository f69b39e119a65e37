fib = (n) -> if n < 2 then n else fib(n - 1) + fib(n - 2)

console.log "fib(#{i}) = #{fib i}" for i in [0..10]
