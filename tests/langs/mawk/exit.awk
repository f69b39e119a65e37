BEGIN {
	exit 3
}
