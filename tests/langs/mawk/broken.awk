BEGIN {
	print "open
