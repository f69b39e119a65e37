(defun fib (n)
  (if (< n 2) n
