-- overview: the farm in one answer, for /health, /cluster, /metrics and status.
-- Returns { { worker, description, its languages joined by spaces }, ... },
--   { name, value, ... of stats }, running, keys in the ring, delayed.
local now, workers = now_ms(), {}
redis.call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', now)
for _, w in ipairs(redis.call('ZRANGE', P .. 'workers', 0, -1)) do
  local info = redis.call('GET', P .. 'winfo:' .. w)
  if info then
    workers[#workers + 1] = { w, info, table.concat(redis.call('SMEMBERS', P .. 'can:' .. w), ' ') }
  end
end
return { workers, redis.call('HGETALL', P .. 'stats'), redis.call('ZCARD', P .. 'leases'),
  redis.call('LLEN', P .. 'ring'), redis.call('ZCARD', P .. 'delayed') }
