BEGIN {
	text = "x"
	while (length(text) < 65536)
		text = text text
	while (1)
		chunks[n++] = text n
}
