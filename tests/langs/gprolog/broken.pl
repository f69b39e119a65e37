:- initialization(main).

main :- write(hello.
