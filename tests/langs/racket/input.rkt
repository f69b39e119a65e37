#lang racket/base

(require racket/port)

(call-with-input-file "data.txt"
  (lambda (data) (copy-port data (current-output-port))))
