fib() {
	local -i n=$1
	if (( n < 2 )); then
		REPLY=$n
	else
		local -i a
		fib $(( n - 1 ))
		a=$REPLY
		fib $(( n - 2 ))
		REPLY=$(( a + REPLY ))
	fi
}

for i in {0..10}; do
	fib $i
	print "fib($i) = $REPLY"
done
