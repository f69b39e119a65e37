10 goto 10
