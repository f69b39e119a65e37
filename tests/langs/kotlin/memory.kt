fun main() {
    val chunks = ArrayList<ByteArray>()
    while (true)
        chunks.add(ByteArray(1 shl 20))
}
