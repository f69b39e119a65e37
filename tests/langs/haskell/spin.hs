spin :: Int -> IO ()
spin n = if n < 0 then return () else spin ((n + 1) `mod` 1000)

main :: IO ()
main = spin 0
