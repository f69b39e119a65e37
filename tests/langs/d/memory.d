__gshared ubyte[][] chunks;

void main()
{
    while (true)
    {
        auto chunk = new ubyte[1 << 20];
        chunk[] = 1;
        chunks ~= chunk;
    }
}
