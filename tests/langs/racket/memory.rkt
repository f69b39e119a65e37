#lang racket/base

(let grow ([chunks '()])
  (grow (cons (make-bytes 1048576 1) chunks)))
