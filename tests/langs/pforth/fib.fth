: fib ( n -- fib-of-n )
  dup 2 < if exit then
  dup 1- recurse swap 2 - recurse + ;

: line ( n -- )
  ." fib(" dup 0 .r ." ) = " fib 0 .r cr ;

: lines ( -- )
  11 0 do i line loop ;

lines
