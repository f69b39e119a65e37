: fib ( n -- f )
  dup 2 < if exit then
  dup 1- recurse swap 2 - recurse + ;

: run ( -- )
  11 0 do
    ." fib(" i 0 .r ." ) = " i fib 0 .r cr
  loop ;

run
