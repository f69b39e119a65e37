cat("never printed\n"
