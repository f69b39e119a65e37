# Unary arithmetic: the pattern space is "DIGITS;A;B", A and B being runs of x.
s/.*/0;;x/
:next
h
# the value of A in decimal: tens become t, the rest counts down
s/^[^;]*;\([^;]*\);.*/\1/
s/xxxxxxxxxx/t/g
s/xxxxxxxxx$/9/
s/xxxxxxxx$/8/
s/xxxxxxx$/7/
s/xxxxxx$/6/
s/xxxxx$/5/
s/xxxx$/4/
s/xxx$/3/
s/xx$/2/
s/x$/1/
/[0-9]$/!s/$/0/
s/ttttt/5/
s/tttt/4/
s/ttt/3/
s/tt/2/
s/t/1/
G
s/^\([0-9]*\)\n\([0-9]*\);.*/fib(\2) = \1/
p
x
/^10;/d
# A, B = B, A + B
s/;\(x*\);\(x*\)$/;\2;\1\2/
s/^9;/10;/
s/^8;/9;/
s/^7;/8;/
s/^6;/7;/
s/^5;/6;/
s/^4;/5;/
s/^3;/4;/
s/^2;/3;/
s/^1;/2;/
s/^0;/1;/
b next
