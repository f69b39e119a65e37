with recursive fib(n, a, b) as (
  select 0, 0, 1
  union all
  select n + 1, b, a + b from fib where n < 10
)
select 'fib(' || n || ') = ' || a from fib;
