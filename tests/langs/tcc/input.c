#include <stdio.h>

int main(void)
{
	FILE *data = fopen("data.txt", "r");
	int c;

	if (data == NULL)
		return 1;
	while ((c = getc(data)) != EOF)
		putchar(c);
	fclose(data);
	return 0;
}
