printf ("%s", fileread ("data.txt"));
