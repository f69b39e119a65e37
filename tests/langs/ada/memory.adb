procedure Main is
   type Chunk is array (1 .. 65_536) of Integer;
   type Chunk_Access is access Chunk;

   Last : Chunk_Access;
begin
   loop
      Last := new Chunk'(others => 1);
   end loop;
end Main;
