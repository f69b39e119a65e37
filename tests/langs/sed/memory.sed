s/.*/xxxxxxxx/
:more
h
G
b more
