int main()
{
    write("never printed\n";
    return 0;
}
