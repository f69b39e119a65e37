def fib(n)
  n < 2 ? n : fib(n - 1) + fib(n - 2)
end

(0..10).each { |i| puts "fib(#{i}) = #{fib(i)}" }
