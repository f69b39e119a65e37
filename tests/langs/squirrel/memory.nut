local chunks = [];
while (true)
    chunks.append(array(10000, 1));
