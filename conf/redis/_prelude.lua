-- What every script shares; the build puts it in front of each of them.
-- KEYS[1] is the farm's prefix, "{unfarm}:": one hash tag, so one cluster slot.
local P = KEYS[1]
local FINAL = { completed = true, failed = true, timeout = true, cancelled = true }
local MAX_WAKE = 64 -- tokens that may lie in `wake`; each makes one worker look

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function job_key(id) return P .. 'job:' .. id end

local function stat(name, n) redis.call('HINCRBY', P .. 'stats', name, n) end

-- One token for one idle worker (BLPOP).  Too many are useless: a worker that
-- wakes takes all it has room for.
local function wake()
  if redis.call('LLEN', P .. 'wake') < MAX_WAKE then
    redis.call('RPUSH', P .. 'wake', '1')
  end
end

local function count_waiting(pk, n)
  redis.call('HINCRBY', P .. 'count:' .. pk, 'waiting', n)
  stat('waiting', n)
end

-- A key stands in the ring while it has waiting jobs and a free slot.
local function make_eligible(pk)
  if redis.call('ZCARD', P .. 'classes:' .. pk) == 0 then return end
  local limit = tonumber(redis.call('HGET', P .. 'key:' .. pk, 'concurrency') or 1)
  if redis.call('ZCARD', P .. 'running:' .. pk) >= limit then return end
  if redis.call('SADD', P .. 'inring', pk) == 1 then
    redis.call('RPUSH', P .. 'ring', pk)
  end
  wake()
end

-- Put a pending job in its class's list; front for one that waited before.
local function queue_push(id, pk, class, seq, front)
  local list = P .. 'wait:' .. pk .. ':' .. class
  local entry = seq .. ':' .. id
  if front then redis.call('LPUSH', list, entry) else redis.call('RPUSH', list, entry) end
  if front or redis.call('LLEN', list) == 1 then
    redis.call('ZADD', P .. 'classes:' .. pk, seq, class)
  end
  count_waiting(pk, 1)
  make_eligible(pk)
end

-- Remove the head of a class's list; false when the list is empty.
local function queue_pop(pk, class)
  local list = P .. 'wait:' .. pk .. ':' .. class
  local entry = redis.call('LPOP', list)
  local head = entry and redis.call('LINDEX', list, 0)
  if head then
    redis.call('ZADD', P .. 'classes:' .. pk, string.match(head, '^%d+'), class)
  else
    redis.call('ZREM', P .. 'classes:' .. pk, class)
  end
  return entry and string.match(entry, '^%d+:(.*)$')
end

-- Everything a lease holds: the slot of the key, the worker's list.
local function drop_lease(id, pk, worker)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('ZREM', P .. 'running:' .. pk, id)
  if worker then redis.call('SREM', P .. 'held:' .. worker, id) end
end

-- Remember who wants to hear of the job's end; each channel once.
local function add_waiter(id, waiters, channel)
  waiters = waiters or ''
  if channel == '' or string.find(' ' .. waiters .. ' ', ' ' .. channel .. ' ', 1, true) then
    return
  end
  redis.call('HSET', job_key(id), 'waiters', waiters .. ' ' .. channel)
end

local function notify(id, waiters)
  for channel in string.gmatch(waiters or '', '%S+') do
    redis.call('PUBLISH', P .. 'done:' .. channel, id)
  end
end

-- The last step of every job.  A final job never changes again; it expires.
local function job_end(id, status, reason, message, ttl_ms)
  local k = job_key(id)
  local f = redis.call('HMGET', k, 'pk', 'waiters', 'worker')
  redis.call('HSET', k, 'state', status, 'finished', now_ms(), 'reason', reason)
  if message ~= '' then redis.call('HSET', k, 'message', message) end
  redis.call('HDEL', k, 'lease', 'waiters')
  redis.call('DEL', P .. 'spec:' .. id)
  redis.call('PEXPIRE', k, ttl_ms)
  redis.call('ZREM', P .. 'delayed', id)
  drop_lease(id, f[1], f[3])
  stat('ended_' .. status, 1)
  make_eligible(f[1])
  notify(id, f[2])
end

-- running -> pending, or failed when it was started too often.
local function job_retry(id, delay_ms, max_attempts, ttl_ms, why)
  local k = job_key(id)
  local f = redis.call('HMGET', k, 'pk', 'class', 'seq', 'attempts', 'worker', 'cancel')
  drop_lease(id, f[1], f[5])
  if f[6] then
    return job_end(id, 'cancelled', 'cancelled', '', ttl_ms)
  end
  if tonumber(f[4]) >= max_attempts then
    return job_end(id, 'failed', 'lost', why, ttl_ms)
  end
  redis.call('HSET', k, 'state', 'pending')
  -- A job that only changes hands goes on waiting; it must not do so for ever.
  if max_attempts ~= math.huge then redis.call('HSET', k, 'queued', now_ms()) end
  redis.call('HDEL', k, 'lease', 'worker', 'started')
  stat('retried', 1)
  if delay_ms > 0 then
    redis.call('ZADD', P .. 'delayed', now_ms() + delay_ms, id)
    count_waiting(f[1], 1)
    make_eligible(f[1])
  else
    queue_push(id, f[1], f[2], f[3], true)
  end
end
