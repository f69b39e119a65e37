def fib: if . < 2 then . else (. - 1 | fib) + (. - 2 | fib) end;

range(11) | "fib(\(.)) = \(fib)"
