(defun fib (n)
  (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))

(dotimes (i 11)
  (format t "fib(~a) = ~a~%" i (fib i)))
