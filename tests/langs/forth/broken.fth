: fib dup 2 < if exit no-such-word
