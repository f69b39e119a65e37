<?php
function fib(int $n): int
{
    return $n < 2 ? $n : fib($n - 1) + fib($n - 2);
}

for ($i = 0; $i <= 10; $i++) {
    echo "fib($i) = ", fib($i), "\n";
}
