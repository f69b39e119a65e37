(with [data (open "data.txt")]
  (print (.read data) :end ""))
