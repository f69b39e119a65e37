#!lua flags=allow-oom
-- beat: a worker says that it lives, what it is and what it can run.
-- ARGV: worker, lifetime in ms, description (JSON), then its languages
local worker, ttl = ARGV[1], tonumber(ARGV[2])
local can = P .. 'can:' .. worker
call('ZADD', P .. 'workers', now_ms() + ttl, worker)
call('SET', P .. 'winfo:' .. worker, ARGV[3], 'PX', ttl)
call('DEL', can)
for i = 4, #ARGV do call('SADD', can, ARGV[i]) end
-- Outlives the description: a slow beat must not stop the worker from taking.
call('PEXPIRE', can, ttl * 10)
return 1
