-module(main).
-export([main/1]).

main(Args) -> main(Args).
