r data.txt
d
