chunks = List();
while (1, listput(~chunks, vectorsmall(100000, i, i)));
