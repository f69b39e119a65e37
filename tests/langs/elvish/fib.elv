fn fib {|n|
  if (< $n 2) {
    put $n
  } else {
    + (fib (- $n 1)) (fib (- $n 2))
  }
}

for i [(range 11)] {
  echo 'fib('$i') = '(fib $i)
}
