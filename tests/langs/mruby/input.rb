File.open("data.txt") { |data| print data.read }
