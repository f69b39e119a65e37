#include <stdlib.h>
#include <string.h>

int main(void)
{
	for (;;) {
		volatile char *block = malloc(1000000);

		if (block == NULL)
			return 1;
		memset((char *)block, 1, 1000000);
	}
}
