#import <objc/objc.h>
#include <stdio.h>

__attribute__((objc_root_class))
@interface Copier
{
    Class isa;
}
+ (int)copy:(const char *)name;
@end

@implementation Copier
+ (int)copy:(const char *)name
{
    FILE *file = fopen(name, "r");
    int c;

    if (!file)
        return 1;
    while ((c = getc(file)) != EOF)
        putchar(c);
    fclose(file);
    return 0;
}
@end

int main(void)
{
    return [Copier copy:"data.txt"];
}
