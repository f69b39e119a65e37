program Fibonacci;

function Fib(n: Integer): Integer;
begin
  if n < 2 then
    Fib := n
  else
    Fib := Fib(n - 1) + Fib(n - 2);
end;

var
  i: Integer;
begin
  for i := 0 to 10 do
    WriteLn('fib(', i, ') = ', Fib(i));
end.
