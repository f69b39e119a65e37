chunks = []
loop { chunks << "x" * 1048576 }
