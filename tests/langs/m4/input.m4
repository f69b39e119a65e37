include(`data.txt')dnl
