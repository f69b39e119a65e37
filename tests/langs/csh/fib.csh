set this = 0
set next = 1
set i = 0
while ($i <= 10)
    echo "fib($i) = $this"
    @ sum = $this + $next
    set this = $next
    set next = $sum
    @ i++
end
