if $true {
  echo never printed
