program ReadData;

var
  data: Text;
  line: String;
begin
  Assign(data, 'data.txt');
  Reset(data);
  while not Eof(data) do
  begin
    ReadLn(data, line);
    WriteLn(line);
  end;
  Close(data);
end.
