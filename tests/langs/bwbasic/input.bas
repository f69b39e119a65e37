10 open "i", #1, "data.txt"
20 line input #1, l$
30 print l$
40 close #1
50 quit
