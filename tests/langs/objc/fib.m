#import <objc/objc.h>
#include <stdio.h>

__attribute__((objc_root_class))
@interface Fibonacci
{
    Class isa;
}
+ (int)of:(int)n;
@end

@implementation Fibonacci
+ (int)of:(int)n
{
    return n < 2 ? n : [self of:n - 1] + [self of:n - 2];
}
@end

int main(void)
{
    int i;

    for (i = 0; i <= 10; i++)
        printf("fib(%d) = %d\n", i, [Fibonacci of:i]);
    return 0;
}
