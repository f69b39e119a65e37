fun fib n = if n < 2 then n else fib (n - 1) + fib (n - 2)

fun line i =
    print ("fib(" ^ Int.toString i ^ ") = " ^ Int.toString (fib i) ^ "\n");

List.app line (List.tabulate (11, fn i => i));
