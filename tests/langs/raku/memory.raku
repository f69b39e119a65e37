my @chunks;
loop { @chunks.push: Buf.allocate(1048576, 1) }
