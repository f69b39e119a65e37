write(read("data.txt"));
