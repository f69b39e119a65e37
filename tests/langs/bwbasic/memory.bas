10 dim a$(500000)
20 for n = 0 to 500000
30 let a$(n) = string$(250, "x")
40 next n
50 quit
