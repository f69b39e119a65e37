(let grow ((chunks '()))
  (grow (cons (make-vector 131072 1) chunks)))
