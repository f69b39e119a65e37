int fib(int n) { n < 2 ? n : fib(n - 1) + fib(n - 2) }

(0..10).each { println "fib($it) = ${fib(it)}" }
