say("never printed";
