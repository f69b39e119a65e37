with recursive spin(x) as (select 1 union all select 1 from spin)
select count(*) from spin;
