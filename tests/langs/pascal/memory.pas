program Grow;

const
  ChunkSize = 1048576;
var
  chunk: Pointer;
begin
  while True do
  begin
    GetMem(chunk, ChunkSize);
    FillChar(chunk^, ChunkSize, 1);
  end;
end.
