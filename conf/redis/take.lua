#!lua flags=allow-oom
-- take: pending -> running, under a lease.  Round robin over the keys in the
-- ring, so a key with many jobs delays another by at most one round.
-- ARGV: worker, node, largest vcpu, how many, lease in ms
-- Returns a list of { id, lease, key, spec, attempts }.
-- A worker takes only languages of its set can:<worker>.
local worker, node = ARGV[1], ARGV[2]
local max_vcpu, count, lease_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local MAX_STALE = 1000 -- dead entries passed over in one call: no call is long
local stale = 0

local function suits(class)
  local lang, vcpu = string.match(class, '^(.*):(%d+)$')
  return tonumber(vcpu) <= max_vcpu
    and redis.call('SISMEMBER', P .. 'can:' .. worker, lang) == 1
end

-- The key's oldest job that this worker can run.  Jobs cancelled while they
-- waited are still in the list, and are passed over here.
local function next_job(pk)
  for _, class in ipairs(redis.call('ZRANGE', P .. 'classes:' .. pk, 0, -1)) do
    if suits(class) then
      while stale < MAX_STALE do
        local id = queue_pop(pk, class)
        if not id then break end
        if redis.call('HGET', job_key(id), 'state') == 'pending' then return id end
        stale = stale + 1
      end
    end
  end
end

local function start(id, pk)
  local k = job_key(id)
  local attempts = redis.call('HINCRBY', k, 'attempts', 1)
  -- Never the same twice: giveback lowers attempts, nothing lowers takes.
  local lease = worker .. '/' .. redis.call('HINCRBY', k, 'takes', 1)
  redis.call('HSET', k, 'state', 'running', 'started', now, 'worker', worker,
    'node', node, 'lease', lease)
  redis.call('ZADD', P .. 'leases', now + lease_ms, id)
  redis.call('ZADD', P .. 'running:' .. pk, now, id)
  redis.call('SADD', P .. 'held:' .. worker, id)
  count_waiting(pk, -1)
  return { id, lease, pk, redis.call('GET', P .. 'spec:' .. id) or '', attempts }
end

local out, misses = {}, 0
while #out < count do
  local pk = redis.call('LPOP', P .. 'ring')
  if not pk then break end
  redis.call('SREM', P .. 'inring', pk)
  -- The limit may have been lowered since the key entered the ring.
  local limit = tonumber(redis.call('HGET', P .. 'key:' .. pk, 'concurrency') or 1)
  local running = redis.call('ZCARD', P .. 'running:' .. pk)
  local id = running < limit and next_job(pk)
  if id then
    out[#out + 1] = start(id, pk)
    running = running + 1
    misses = 0
  else
    misses = misses + 1
  end
  -- Back to the end of the ring while it has more and may run more.
  if running < limit and redis.call('ZCARD', P .. 'classes:' .. pk) > 0 then
    redis.call('SADD', P .. 'inring', pk)
    redis.call('RPUSH', P .. 'ring', pk)
  end
  if misses > redis.call('LLEN', P .. 'ring') or stale >= MAX_STALE then break end
end
-- More to do than this worker took: another one should look.
if (#out > 0 or stale >= MAX_STALE) and redis.call('LLEN', P .. 'ring') > 0 then wake() end
return out
