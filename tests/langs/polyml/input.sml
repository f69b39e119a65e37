val data = TextIO.openIn "data.txt";
print (TextIO.inputAll data);
TextIO.closeIn data;
