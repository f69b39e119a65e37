block$ = "xxxxxxxx"
do
  block$ = block$ + block$
loop
