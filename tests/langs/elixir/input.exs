IO.write(File.read!("data.txt"))
