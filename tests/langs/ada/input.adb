with Ada.Text_IO; use Ada.Text_IO;

procedure Main is
   Data : File_Type;
begin
   Open (Data, In_File, "data.txt");
   while not End_Of_File (Data) loop
      Put_Line (Get_Line (Data));
   end loop;
   Close (Data);
end Main;
