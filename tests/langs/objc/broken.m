#include <stdio.h>

int main(void)
{
    puts("never printed"
    return 0;
}
