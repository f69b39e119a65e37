print("never printed";
