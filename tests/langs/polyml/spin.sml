fun spin () : unit = spin ();

spin ();
