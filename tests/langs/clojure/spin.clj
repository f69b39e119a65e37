(loop []
  (recur))
