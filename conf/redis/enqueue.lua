-- enqueue: nothing -> pending.  Admission, idempotency and the queue in one step.
-- ARGV: id, key, class ("language:vcpu"), language, network mode, spec,
--       rate a minute, burst, concurrency, queue limit,
--       idempotency key or "", hash of the request, its lifetime in ms,
--       channel to tell when it ends or "", detected language or ""
-- Returns { word, id, tokens left, ms until one more, active, limit }; word is
--   ok, same (id is the earlier job), differs, rate or busy.
local id, pk, class, lang, net, spec = unpack(ARGV, 1, 6)
local rate, burst = tonumber(ARGV[7]), tonumber(ARGV[8])
local concurrency, queue = tonumber(ARGV[9]), tonumber(ARGV[10])
local idem, hash, idem_ttl, channel, detected = unpack(ARGV, 11, 15)
local now = now_ms()

local idem_key = P .. 'idem:' .. pk .. ':' .. idem
if idem ~= '' then
  local seen = redis.call('HMGET', idem_key, 'id', 'hash')
  if seen[1] and redis.call('EXISTS', job_key(seen[1])) == 1 then
    if seen[2] ~= hash then return { 'differs', seen[1], 0, 0, 0, 0 } end
    return { 'same', seen[1], 0, 0, 0, 0 }
  end
end

-- Token bucket: `burst` deep, refilled at `rate` a minute.
local bucket = P .. 'rate:' .. pk
local b = redis.call('HMGET', bucket, 'tokens', 'at')
local tokens = tonumber(b[1]) or burst
local since = now - (tonumber(b[2]) or now)
if since < 0 then -- the clock was set back: it fills from here on
  since = 0
  redis.call('HSET', bucket, 'at', now)
end
tokens = math.min(burst, tokens + since * rate / 60000)
local one_ms = math.ceil(60000 / rate)
local waiting = tonumber(redis.call('HGET', P .. 'count:' .. pk, 'waiting') or 0)
local active = waiting + redis.call('ZCARD', P .. 'running:' .. pk)
if tokens < 1 then
  return { 'rate', id, 0, math.ceil((1 - tokens) * 60000 / rate), active, concurrency }
end
if active >= concurrency + queue then
  return { 'busy', id, math.floor(tokens), one_ms, active, concurrency + queue }
end
tokens = tokens - 1
redis.call('HSET', bucket, 'tokens', tokens, 'at', now)
redis.call('PEXPIRE', bucket, math.ceil(burst * 60000 / rate) + 1000)

local seq = redis.call('INCR', P .. 'seq')
redis.call('HSET', job_key(id), 'state', 'pending', 'pk', pk, 'class', class,
  'lang', lang, 'net', net, 'seq', seq, 'created', now, 'attempts', 0)
if channel ~= '' then redis.call('HSET', job_key(id), 'waiters', channel) end
if detected ~= '' then redis.call('HSET', job_key(id), 'detected', detected) end
redis.call('SET', P .. 'spec:' .. id, spec)
redis.call('ZADD', P .. 'jobs:' .. pk, now, id)
redis.call('SADD', P .. 'active', pk)
if idem ~= '' then
  redis.call('HSET', idem_key, 'id', id, 'hash', hash)
  redis.call('PEXPIRE', idem_key, idem_ttl)
end
stat('submitted', 1)
queue_push(id, pk, class, seq, false)
return { 'ok', id, math.floor(tokens), one_ms, active + 1, concurrency + queue }
