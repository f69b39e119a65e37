-module(main).
-export([main/1]).

main(_) -> more([]).

more(Blocks) -> more([lists:seq(1, 100000) | Blocks]).
