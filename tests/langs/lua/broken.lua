local function fib(n
