int fib (int n) {
    return n < 2 ? n : fib (n - 1) + fib (n - 2);
}

void main () {
    for (int i = 0; i <= 10; i++) {
        print ("fib(%d) = %d\n", i, fib (i));
    }
}
