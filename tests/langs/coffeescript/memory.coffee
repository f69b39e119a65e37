chunks = []
loop
  chunks.push Buffer.alloc 1 << 20, 1
