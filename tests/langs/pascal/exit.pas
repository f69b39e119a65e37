program Leave;
begin
  Halt(3);
end.
