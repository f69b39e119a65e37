/* rexx */
do i = 0 to 10
  say 'fib('i') =' fib(i)
end
exit 0

fib: procedure
  parse arg n
  if n < 2 then return n
  return fib(n - 1) + fib(n - 2)
