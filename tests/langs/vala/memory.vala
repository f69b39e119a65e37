void main () {
    var chunks = new GenericArray<Bytes> ();

    while (true) {
        var chunk = new uint8[1 << 20];
        Memory.set (chunk, 1, chunk.length);
        chunks.add (new Bytes.take ((owned) chunk));
    }
}
