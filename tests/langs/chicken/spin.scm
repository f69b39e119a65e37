(let spin ()
  (spin))
