import std.file;
import std.stdio;

void main()
{
    write(readText("data.txt"));
}
