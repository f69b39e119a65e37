local data = assert(io.open("data.txt"))
io.write(data:read("*a"))
