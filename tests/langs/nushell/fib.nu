def fib [n: int] {
  if $n < 2 { $n } else { (fib ($n - 1)) + (fib ($n - 2)) }
}

for i in 0..10 {
  print $"fib\(($i)) = (fib $i)"
}
