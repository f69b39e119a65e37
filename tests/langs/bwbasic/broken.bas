10 let a = (1 +
20 quit
