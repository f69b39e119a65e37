defmodule Fibonacci do
  def of(n) when n < 2, do: n
  def of(n), do: of(n - 1) + of(n - 2)
end

for i <- 0..10, do: IO.puts("fib(#{i}) = #{Fibonacci.of(i)}")
