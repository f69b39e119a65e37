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
  local seen = call('HMGET', idem_key, 'id', 'hash')
  if seen[1] and call('EXISTS', job_key(seen[1])) == 1 then
    if seen[2] ~= hash then return { 'differs', seen[1], 0, 0, 0, 0 } end
    return { 'same', seen[1], 0, 0, 0, 0 }
  end
end

-- Token bucket: `burst` deep, refilled at `rate` a minute.
local book = book_key(pk)
local b = call('HMGET', book, 'waiting', 'tokens', 'at', 'ring', 'running', 'limit', 'heads')
local tokens = tonumber(b[2]) or burst
local since = now - (tonumber(b[3]) or now)
if since < 0 then -- the clock was set back: it fills from here on
  since = 0
  call('HSET', book, 'at', int(now))
end
tokens = math.min(burst, tokens + since * rate / 60000)
local one_ms = math.ceil(60000 / rate)
local waiting = tonumber(b[1]) or 0
local running, heads = tonumber(b[5]) or 0, b[7] or ''
if tokens < 1 then
  return { 'rate', id, 0, math.ceil((1 - tokens) * 60000 / rate), waiting + running, concurrency }
end
if waiting + running >= concurrency + queue then
  return { 'busy', id, math.floor(tokens), one_ms, waiting + running, concurrency + queue }
end
tokens = tokens - 1

if not b[1] then call('SADD', P .. 'active', pk) end
local seq = int(call('INCR', P .. 'seq'))
call('HSET', job_key(id), 'state', 'pending', 'pk', pk, 'class', class, 'lang', lang,
  'net', net, 'seq', seq, 'created', int(now), 'waiters', channel, 'detected', detected)
call('SET', body_key(id), spec)
call('RPUSH', P .. 'jobs:' .. pk, id)
if idem ~= '' then
  call('HSET', idem_key, 'id', id, 'hash', hash)
  call('PEXPIRE', idem_key, idem_ttl)
end
stat('waiting', 1)

-- As queue_push() and make_eligible(), with what is known already: one write to
-- the book.
local first = call('RPUSH', P .. 'wait:' .. pk .. ':' .. class, seq .. ':' .. id) == 1
local limit = b[6] or int(concurrency_of(pk))
local enters = b[4] ~= '1' and running < tonumber(limit)
if enters then call('RPUSH', P .. 'ring', pk) end
if first or enters or not b[6] then
  call('HSET', book, 'waiting', int(waiting + 1), 'tokens', tokens, 'at', int(now),
    'limit', limit, 'ring', enters and '1' or b[4] or '0',
    'heads', first and heads .. ' ' .. class .. ' ' .. seq or heads)
else
  call('HSET', book, 'waiting', int(waiting + 1), 'tokens', tokens, 'at', int(now))
end
if enters or b[4] == '1' then wake() end
return { 'ok', id, math.floor(tokens), one_ms, waiting + running + 1, concurrency + queue }
