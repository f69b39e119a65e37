(define (fib n)
  (if (< n 2)
      n
      (+ (fib (- n 1)) (fib (- n 2)))))

(for (i 0 10)
  (println "fib(" i ") = " (fib i)))
