import Foreign

grow :: IO ()
grow = do
  chunk <- mallocBytes (2 ^ 20) :: IO (Ptr Word8)
  fillBytes chunk 1 (2 ^ 20)
  grow

main :: IO ()
main = grow
