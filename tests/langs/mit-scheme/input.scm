(call-with-input-file "data.txt"
  (lambda (port)
    (let copy ((c (read-char port)))
      (if (not (eof-object? c))
          (begin
            (write-char c)
            (copy (read-char port)))))))
