#!lua flags=allow-oom
-- abandon: running -> pending (or failed) for all jobs of a worker that is
-- known to be dead.  Its master calls this instead of waiting for the leases.
-- ARGV: worker, most attempts, result lifetime in ms
-- Returns how many.
local ids = redis.call('SMEMBERS', P .. 'held:' .. ARGV[1])
for _, id in ipairs(ids) do
  local f = redis.call('HMGET', job_key(id), 'state', 'worker')
  if f[1] == 'running' and f[2] == ARGV[1] then
    job_retry(id, 0, tonumber(ARGV[2]), tonumber(ARGV[3]),
      'the worker that ran it died each time')
  end
end
redis.call('DEL', P .. 'held:' .. ARGV[1], P .. 'can:' .. ARGV[1], P .. 'winfo:' .. ARGV[1])
redis.call('ZREM', P .. 'workers', ARGV[1])
return #ids
