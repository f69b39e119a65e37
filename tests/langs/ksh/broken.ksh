if true; then
	echo hello
