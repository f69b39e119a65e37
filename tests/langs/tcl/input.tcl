set data [open data.txt]
puts -nonewline [read $data]
close $data
