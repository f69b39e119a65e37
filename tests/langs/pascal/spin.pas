program Spin;
begin
  while True do
    ;
end.
