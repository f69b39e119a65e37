create buffer 256 allot

: copy ( -- )
  s" data.txt" r/o open-file abort" no data.txt"
  buffer 256 rot read-file abort" cannot read data.txt"
  buffer swap type ;

copy
