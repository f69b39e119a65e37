10 let a = 0
20 let b = 1
30 for n = 0 to 10
40 print "fib(" + mid$(str$(n), 2) + ") = " + mid$(str$(a), 2)
50 let c = a + b
60 let a = b
70 let b = c
80 next n
90 quit
