main :: IO ()
main = spin 0

spin :: Int -> IO ()
spin n = if n == 7 then return () else spin (1 - n)
