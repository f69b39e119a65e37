program Broken;
begin
  WriteLn('never printed';
end.
