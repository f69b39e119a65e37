#!lua flags=allow-oom
-- repair: what the leading scheduler does each tick.  Bounded by ARGV[2].
-- ARGV: scheduler (must still lead), most repairs of a kind, most attempts,
--       result lifetime in ms, back-off base in ms, longest wait in ms,
--       lease in ms, what our clock should show by the scheduler's or ""
-- running -> pending or failed: leases that ran out, with a growing delay.
-- pending (delayed) -> pending (queued): delays that are over.
-- pending -> failed: jobs at the head of a queue that no worker took in time.
-- Returns { expired, promoted, given up, the time in ms, ms that the clock was
-- set by or 0 }, or nil when it leads no more.
local me, batch, max_attempts, ttl, base, longest, lease, expected = ARGV[1],
  tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]),
  tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if call('GET', P .. 'leader') ~= me then return nil end
local now = now_ms()
local MAX_DELAY = 60000 -- the back-off doubles up to this
local MAX_DRIFT = 10000 -- more than any call is under way

-- Somebody set the clock.  No time in our books means anything now: who lives
-- gets a fresh lease, retries are due, and waits count from here.
local set_by = expected and now - expected or 0
if math.abs(set_by) <= MAX_DRIFT then
  set_by = 0
else
  for name, due in pairs({ leases = now + lease, workers = now + lease, delayed = now }) do
    for _, id in ipairs(call('ZRANGE', P .. name, 0, -1)) do
      call('ZADD', P .. name, int(due), id)
    end
  end
  call('SET', P .. 'clockset', int(now), 'PX', int(longest))
end
local clockset = tonumber(call('GET', P .. 'clockset'))

local function waits_since(created, queued)
  local since = tonumber(queued or created)
  if clockset and (since < clockset or since > now) then return clockset end
  return since
end

local expired = call('ZRANGEBYSCORE', P .. 'leases', '-inf', int(now), 'LIMIT', '0', ARGV[2])
for _, id in ipairs(expired) do
  local f = call('HMGET', job_key(id), 'state', 'attempts')
  if f[1] == 'running' then
    local delay = base * 2 ^ (math.max(1, tonumber(f[2])) - 1)
    job_retry(id, math.min(delay, MAX_DELAY), max_attempts, ttl,
      'its workers stopped answering')
  else
    call('ZREM', P .. 'leases', id)
  end
end

local due = call('ZRANGEBYSCORE', P .. 'delayed', '-inf', int(now), 'LIMIT', '0', ARGV[2])
for _, id in ipairs(due) do
  call('ZREM', P .. 'delayed', id)
  local f = call('HMGET', job_key(id), 'state', 'pk', 'class', 'seq')
  if f[1] == 'pending' then
    queue_push(id, f[2], f[3], f[4], true)
    make_eligible(f[2], true)
  end
end

-- A retried job's wait counts from its return.  Entries of cancelled jobs go too.
local given_up, popped = 0, 0
for _, pk in ipairs(call('SRANDMEMBER', P .. 'active', ARGV[2])) do
  for class in pairs(book_heads(pk)) do
    local list = P .. 'wait:' .. pk .. ':' .. class
    local head = call('LINDEX', list, 0)
    while head and popped < batch do
      local id = string.match(head, '^%d+:(.*)$')
      local f = call('HMGET', job_key(id), 'state', 'created', 'queued', 'waiters')
      if f[1] == 'pending' and now - waits_since(f[2], f[3]) < longest then break end
      queue_pop(pk, class)
      popped = popped + 1
      if f[1] == 'pending' then
        leave_queue(id, pk)
        job_end(id, pk, f[4], 'failed', 'lost', 'no worker that can run it took it in time', ttl)
        given_up = given_up + 1
      end
      head = call('LINDEX', list, 0)
    end
  end
end
-- Tokens that workers took to their graves, or that woke only workers without
-- the language: as long as somebody waits, every idle worker looks once a tick.
if call('LLEN', P .. 'ring') > 0 then
  for _ = 1, math.min(MAX_WAKE, call('ZCARD', P .. 'workers')) do wake() end
end
return { #expired, #due, given_up, now, set_by }
