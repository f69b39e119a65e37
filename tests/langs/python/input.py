with open("data.txt", encoding="utf-8") as data:
    print(data.read(), end="")
