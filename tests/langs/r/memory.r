chunks <- list()
repeat chunks[[length(chunks) + 1]] <- rep(1, 131072)
