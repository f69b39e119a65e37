-module(main).
-export([start/0]).

% start/0 instead of main/1: the other way to begin
start() ->
    {ok, Data} = file:read_file("data.txt"),
    io:put_chars(Data).
