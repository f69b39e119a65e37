def fib(n)
  n < 2 ? n : fib(n - 1) + fib(n - 2)
end

11.times { |i| puts "fib(#{i}) = #{fib(i)}" }
