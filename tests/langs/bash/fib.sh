fib() {
	local n=$1
	if ((n < 2)); then
		echo "$n"
	else
		echo $(($(fib $((n - 1))) + $(fib $((n - 2)))))
	fi
}

for ((i = 0; i <= 10; i++)); do
	echo "fib($i) = $(fib "$i")"
done
