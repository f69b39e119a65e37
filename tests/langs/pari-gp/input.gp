lines = readstr("data.txt");
for (i = 1, #lines, print(lines[i]));
quit;
