printf ("never printed\n";
