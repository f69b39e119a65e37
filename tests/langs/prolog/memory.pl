:- initialization(main).

main :- more([]).

more(Blocks) :- numlist(1, 100000, Block), more([Block | Blocks]).
