print("never printed\n";
