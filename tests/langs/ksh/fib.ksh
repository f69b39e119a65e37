fib() {
	if [ "$1" -lt 2 ]; then
		echo "$1"
	else
		echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2)))))
	fi
}

i=0
while [ "$i" -le 10 ]; do
	echo "fib($i) = $(fib "$i")"
	i=$((i + 1))
done
