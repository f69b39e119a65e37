(display (call-with-input-file "data.txt" get-string-all))
