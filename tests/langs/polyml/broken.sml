print ("never printed\n";
