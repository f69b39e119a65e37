BEGIN {
	block = "x"
	while (1)
		block = block block
}
