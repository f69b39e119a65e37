if true {
  print "never printed"
