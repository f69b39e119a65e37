(while True)
