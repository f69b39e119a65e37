import core.volatile : volatileLoad;

__gshared uint forever = 1;

void main()
{
    while (volatileLoad(&forever))
    {
    }
}
