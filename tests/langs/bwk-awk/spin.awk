BEGIN {
	while (1)
		;
}
