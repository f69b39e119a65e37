#!lua flags=allow-oom
-- beat: a worker says that it lives, what it is and what it can run.
-- ARGV: worker, lifetime in ms, description (JSON), then its languages
local worker, ttl = ARGV[1], tonumber(ARGV[2])
local can = P .. 'can:' .. worker
redis.call('ZADD', P .. 'workers', now_ms() + ttl, worker)
redis.call('SET', P .. 'winfo:' .. worker, ARGV[3], 'PX', ttl)
redis.call('DEL', can)
for i = 4, #ARGV do redis.call('SADD', can, ARGV[i]) end
-- Outlives the description: a slow beat must not stop the worker from taking.
redis.call('PEXPIRE', can, ttl * 10)
return 1
