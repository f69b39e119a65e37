function fib
    if test $argv[1] -lt 2
        echo $argv[1]
    else
        math (fib (math $argv[1] - 1)) + (fib (math $argv[1] - 2))
    end
end

for i in (seq 0 10)
    echo "fib($i) = "(fib $i)
end
