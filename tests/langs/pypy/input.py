with open("data.txt") as data:
    print(data.read(), end="")
