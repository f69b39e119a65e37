print (slurp < data.txt)
