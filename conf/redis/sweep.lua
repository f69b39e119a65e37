#!lua flags=allow-oom
-- sweep: books that drifted, a page of keys at a time.  Slots of jobs that no
-- lease backs are freed, list entries of expired jobs dropped, keys that wait
-- for no reason put in the ring, idle keys forgotten.
-- ARGV: scheduler (must still lead), cursor, result lifetime in ms
-- Returns { next cursor, slots freed, 1 when a list was too long for one call },
-- or nil when it leads no more.
if redis.call('GET', P .. 'leader') ~= ARGV[1] then return nil end
local MAX_OLD = 1000 -- entries looked at of one key
local now, freed, more = now_ms(), 0, 0
local page = redis.call('SSCAN', P .. 'active', ARGV[2], 'COUNT', 20)
for _, pk in ipairs(page[2]) do
  for _, id in ipairs(redis.call('ZRANGE', P .. 'running:' .. pk, 0, -1)) do
    if not redis.call('ZSCORE', P .. 'leases', id) then
      redis.call('ZREM', P .. 'running:' .. pk, id)
      freed = freed + 1
    end
  end
  local old, gone = redis.call('ZRANGEBYSCORE', P .. 'jobs:' .. pk, '-inf', now - ARGV[3],
    'LIMIT', 0, MAX_OLD), 0
  for _, id in ipairs(old) do
    if redis.call('EXISTS', job_key(id)) == 0 then
      redis.call('ZREM', P .. 'jobs:' .. pk, id)
      gone = gone + 1
    end
  end
  if #old == MAX_OLD and gone > 0 then more = 1 end
  make_eligible(pk)
  if redis.call('EXISTS', P .. 'jobs:' .. pk, P .. 'classes:' .. pk, P .. 'running:' .. pk) == 0 then
    redis.call('SREM', P .. 'active', pk)
    redis.call('DEL', P .. 'count:' .. pk)
  end
end
if freed > 0 then stat('slots_freed', freed) end
return { page[1], freed, more }
