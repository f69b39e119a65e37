func fib(_ n: Int) -> Int {
    return n < 2 ? n : fib(n - 1) + fib(n - 2)
}

for i in 0...10 {
    print("fib(\(i)) = \(fib(i))")
}
