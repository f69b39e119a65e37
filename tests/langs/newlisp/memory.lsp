(while true
  (push (dup "x" 1048576) chunks))
