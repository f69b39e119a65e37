chunks = []
while true
  chunks.push Buffer.alloc 1048576 1
