exit (3);
