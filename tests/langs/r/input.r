cat(readLines("data.txt"), sep = "\n")
