var chunks: [[UInt8]] = []

while true {
    chunks.append([UInt8](repeating: 1, count: 1 << 20))
}
