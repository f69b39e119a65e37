fun grow chunks : unit = grow (Array.array (131072, 1) :: chunks);

grow [];
