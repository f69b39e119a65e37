(defn fib [n]
  (if (< n 2)
    n
    (+ (fib (- n 1)) (fib (- n 2)))))

(doseq [i (range 11)]
  (println (str "fib(" i ") = " (fib i))))
