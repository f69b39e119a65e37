val _ = print ("never printed\n"
