(loop [chunks ()]
  (recur (cons (byte-array 1048576) chunks)))
