java.lang.System.out.print(readFile("data.txt"));
