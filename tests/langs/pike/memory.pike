int main()
{
    array chunks = ({});

    while (1)
        chunks += ({ allocate(65536, 1) });
}
