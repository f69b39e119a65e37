set a = 0
set b = 1
set i = 0
while ($i <= 10)
	echo "fib($i) = $a"
	@ c = $a + $b
	set a = $b
	set b = $c
	@ i++
end
