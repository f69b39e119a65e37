#include <stdlib.h>
#include <string.h>

#define CHUNK (1 << 20)

static char *volatile last;

int main(void)
{
    for (;;) {
        char *chunk = malloc(CHUNK);

        if (!chunk)
            return 1;
        memset(chunk, 1, CHUNK);
        last = chunk;
    }
}
