range(infinite) | empty
