with Ada.Text_IO;         use Ada.Text_IO;
with Ada.Integer_Text_IO; use Ada.Integer_Text_IO;

procedure Main is

   function Fib (N : Natural) return Natural is
     (if N < 2 then N else Fib (N - 1) + Fib (N - 2));

begin
   for I in 0 .. 10 loop
      Put ("fib(");
      Put (I, Width => 0);
      Put (") = ");
      Put (Fib (I), Width => 0);
      New_Line;
   end loop;
end Main;
