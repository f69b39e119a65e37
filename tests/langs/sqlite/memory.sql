create table blocks (block blob);
with recursive more(x) as (select 1 union all select 1 from more)
insert into blocks select randomblob(1000000) from more;
