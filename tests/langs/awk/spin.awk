BEGIN {
	while (1)
		continue
}
