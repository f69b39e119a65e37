1;

function f = fib (n)
  if (n < 2)
    f = n;
  else
    f = fib (n - 1) + fib (n - 2);
  end
end

for i = 0:10
  printf ("fib(%d) = %d\n", i, fib (i));
end
