open 1, "data.txt", "r"
while (not eof(1))
  line input #1 text$
  print text$
wend
close 1
