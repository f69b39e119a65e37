#!lua flags=allow-oom
-- lead: take or keep the scheduler's lock; with 0 ms give it up.
-- ARGV: scheduler, lock in ms or 0
-- Returns 1 when it leads.
local holder = redis.call('GET', P .. 'leader')
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', P .. 'leader')
  return 0
end
redis.call('SET', P .. 'leader', ARGV[1], 'PX', ARGV[2])
return 1
