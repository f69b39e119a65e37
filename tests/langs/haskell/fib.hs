fib :: Int -> Int
fib n = if n < 2 then n else fib (n - 1) + fib (n - 2)

main :: IO ()
main = mapM_ line [0 .. 10]
  where
    line i = putStrLn ("fib(" ++ show i ++ ") = " ++ show (fib i))
