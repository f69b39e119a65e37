fib = (n) -> if n < 2 then n else fib(n - 1) + fib(n - 2)

for i from 0 to 10
  console.log "fib(#i) = #{fib i}"
