10 quit
