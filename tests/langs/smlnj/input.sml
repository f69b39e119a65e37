val data = TextIO.openIn "data.txt"
val _ = print (TextIO.inputAll data)
val _ = TextIO.closeIn data
