(with-open-file (data "data.txt")
  (loop for line = (read-line data nil)
        while line do (write-line line)))
