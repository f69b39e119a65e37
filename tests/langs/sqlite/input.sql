select rtrim(cast(readfile('data.txt') as text), char(10));
