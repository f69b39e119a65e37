program broken
  print '(a)', ('never printed'
end program broken
