object Main {
  def fib(n: Int): Int = if (n < 2) n else fib(n - 1) + fib(n - 2)

  def main(args: Array[String]): Unit =
    for (i <- 0 to 10) println("fib(" + i + ") = " + fib(i))
}
