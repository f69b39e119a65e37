int main()
{
    write("%s", Stdio.read_file("data.txt"));
    return 0;
}
