#!lua flags=allow-oom
-- cancel: pending -> cancelled at once; running: its worker is told, and ends
-- it with the output so far.
-- ARGV: id, key that asks, result lifetime in ms, channel to tell or ""
-- Returns none (unknown, or another key's), wait (it is ending) or final.
local id, pk, ttl, channel = unpack(ARGV)
local k = job_key(id)
local f = call('HMGET', k, 'pk', 'state', 'worker', 'waiters')
if f[1] ~= pk then return 'none' end
if f[2] == 'pending' then
  leave_queue(id, pk)
  job_end(id, pk, f[4], 'cancelled', 'cancelled', '', ttl)
  return 'final'
end
if f[2] ~= 'running' then return 'final' end
call('HSET', k, 'cancel', '1')
add_waiter(id, f[4], channel)
call('PUBLISH', P .. 'ctl:' .. f[3], id)
return 'wait'
