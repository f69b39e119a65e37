def chunks = []
while (true)
    chunks << new byte[1 << 20]
