-module(main).
-export([main/1]).

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

main(_) ->
    [io:format("fib(~b) = ~b~n", [I, fib(I)]) || I <- lists:seq(0, 10)].
