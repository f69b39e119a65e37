(setv chunks [])
(while True
  (.append chunks (bytearray (* b"x" 1048576))))
