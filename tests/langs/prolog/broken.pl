:- initialization(main).

main :- writeln(hello.
