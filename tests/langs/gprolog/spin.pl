:- initialization(main).

main :- repeat, fail.
