for i = 0 to 10
  print "fib(", i, ") = ", fib(i)
next i
end

sub fib(n)
  if (n < 2) return n
  return fib(n - 1) + fib(n - 2)
end sub
