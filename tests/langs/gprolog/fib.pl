:- initialization(main).

fib(N, N) :- N < 2, !.
fib(N, F) :-
    A is N - 1, B is N - 2,
    fib(A, X), fib(B, Y),
    F is X + Y.

main :- between(0, 10, I), fib(I, F), format("fib(~d) = ~d~n", [I, F]), fail.
main.
