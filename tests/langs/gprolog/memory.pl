:- initialization(main).

main :- more([]).

more(Blocks) :- length(Block, 100000), more([Block | Blocks]).
