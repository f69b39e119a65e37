divert(-1)
define(`fib', `ifelse(eval($1 < 2), 1, $1,
  `eval(fib(decr($1)) + fib(eval($1 - 2)))')')
define(`lines', ``fib($1) = 'fib($1)
ifelse($1, $2, , `lines(incr($1), $2)')')
divert(0)dnl
lines(0, 10)dnl
