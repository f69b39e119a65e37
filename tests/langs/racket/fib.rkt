#lang racket/base

(define (fib n)
  (if (< n 2)
      n
      (+ (fib (- n 1)) (fib (- n 2)))))

(for ([i 11])
  (printf "fib(~a) = ~a\n" i (fib i)))
