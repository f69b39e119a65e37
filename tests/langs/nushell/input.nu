print --no-newline (open --raw data.txt)
