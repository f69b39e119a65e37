:- initialization(main).

main :- open('data.txt', read, S), copy(S), close(S).

copy(S) :- get_char(S, C), put(C, S).

put(end_of_file, _) :- !.
put(C, S) :- put_char(C), copy(S).
