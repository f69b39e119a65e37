#!lua flags=allow-oom
-- abandon: running -> pending (or failed) for all jobs of a worker that is
-- known to be dead.  Its master calls this instead of waiting for the leases.
-- ARGV: worker, most attempts, result lifetime in ms
-- Returns how many.
local worker, most, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local ids, n = call('ZRANGE', P .. 'leases', '0', '-1'), 0
for i = #ids, 1, -1 do -- each goes to the front: the oldest last
  local f = call('HMGET', job_key(ids[i]), 'state', 'worker')
  if f[1] == 'running' and f[2] == worker then
    job_retry(ids[i], 0, most, ttl, 'the worker that ran it died each time')
    n = n + 1
  end
end
call('DEL', P .. 'can:' .. worker, P .. 'winfo:' .. worker)
call('ZREM', P .. 'workers', worker)
return n
