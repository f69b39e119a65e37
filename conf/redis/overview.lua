-- overview: the farm in one answer, for /health, /cluster, /metrics and status.
-- Returns { { worker, description, its languages joined by spaces }, ... },
--   { name, value, ... of stats, and `submitted` }, running, keys in the ring,
--   delayed, descriptions of the nodes with sessions.
local now, workers = now_ms(), {}
call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', int(now))
for _, w in ipairs(call('ZRANGE', P .. 'workers', '0', '-1')) do
  local info = call('GET', P .. 'winfo:' .. w)
  if info then
    workers[#workers + 1] = { w, info, table.concat(call('SMEMBERS', P .. 'can:' .. w), ' ') }
  end
end
local stats = call('HGETALL', P .. 'stats')
stats[#stats + 1] = 'submitted'
stats[#stats + 1] = call('GET', P .. 'seq') or '0'
local nodes = {}
for _, n in ipairs(call('ZRANGEBYSCORE', P .. 'nodes', int(now), '+inf')) do
  nodes[#nodes + 1] = call('GET', P .. 'node:' .. n) or nil
end
return { workers, stats, call('ZCARD', P .. 'leases'), call('LLEN', P .. 'ring'),
  call('ZCARD', P .. 'delayed'), nodes }
