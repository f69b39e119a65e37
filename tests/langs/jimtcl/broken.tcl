puts "never printed
