function Get-Fibonacci([int] $n) {
    if ($n -lt 2) { return $n }
    return (Get-Fibonacci ($n - 1)) + (Get-Fibonacci ($n - 2))
}

foreach ($i in 0..10) {
    Write-Output "fib($i) = $(Get-Fibonacci $i)"
}
