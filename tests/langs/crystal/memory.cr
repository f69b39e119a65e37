chunks = [] of Bytes
loop { chunks << Bytes.new(1 << 20, 1_u8) }
