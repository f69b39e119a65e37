local data = file("data.txt", "r");
while (!data.eos())
    print(data.readn('b').tochar());
data.close();
