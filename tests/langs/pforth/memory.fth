: grow ( -- )
  begin
    1048576 allocate abort" out of memory"
    1048576 1 fill
  again ;

grow
