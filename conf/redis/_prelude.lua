-- What every script shares; the build puts it in front of each of them.
-- KEYS[1] is the farm's prefix, "{unfarm}:": one hash tag, so one cluster slot.
-- A script's price is the number of its calls and of the bytes they write.
local P = KEYS[1]
local call = redis.call
local FINAL = { completed = true, failed = true, timeout = true, cancelled = true }
local MAX_WAKE = 64 -- tokens that may lie in `wake`; each makes one worker look
local MAX_TOLD = 16384 -- bytes of a result that goes out with the news of its end

local function now_ms()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Redis writes a number of Lua as a floating-point one, which takes longer.
local function int(n) return string.format('%d', n) end

local function job_key(id) return P .. 'job:' .. id end
local function body_key(id) return P .. 'body:' .. id end
-- What is stored for a job, or 1 when it is large: then whoever asks GETs it.
-- Lua copies a string twice and hashes each byte of it, while nobody else of the
-- farm is served.
local MAX_BODY = 65536
local function body_of(id)
  local body = call('GETRANGE', body_key(id), '0', MAX_BODY)
  return #body <= MAX_BODY and body or 1
end
local function book_key(pk) return P .. 'book:' .. pk end

local function stat(name, n) call('HINCRBY', P .. 'stats', name, int(n)) end

-- One token for one idle worker (BLPOP).  Too many are useless: a worker that
-- wakes takes all it has room for.
local function wake()
  if call('LLEN', P .. 'wake') < MAX_WAKE then call('RPUSH', P .. 'wake', '1') end
end

local function count_waiting(pk, n)
  call('HINCRBY', book_key(pk), 'waiting', int(n))
  stat('waiting', n)
end

local function concurrency_of(pk)
  return tonumber(call('HGET', P .. 'key:' .. pk, 'concurrency') or 1)
end

-- The classes that a key has a list of, by the `seq` of its head: in its book
-- the text "class seq class seq", in scripts a table.
local function heads_of(text)
  local heads = {}
  for class, seq in string.gmatch(text or '', '(%S+) (%d+)') do heads[class] = seq end
  return heads
end

local function heads_text(heads)
  local text = ''
  for class, seq in pairs(heads) do text = text .. ' ' .. class .. ' ' .. seq end
  return text
end

local function book_heads(pk) return heads_of(call('HGET', book_key(pk), 'heads')) end

-- seq nil: the list is empty now.
local function set_head(pk, class, seq)
  local heads = book_heads(pk)
  heads[class] = seq
  call('HSET', book_key(pk), 'heads', heads_text(heads))
end

-- A key stands in the ring, and `ring` in its book is 1, while it has queued
-- jobs and a free slot.  fresh: one was queued just now, so somebody must look.
local function make_eligible(pk, fresh)
  local b = call('HMGET', book_key(pk), 'waiting', 'ring')
  if (b[1] or '0') == '0' then return end
  if b[2] ~= '1' then
    b = call('HMGET', book_key(pk), 'heads', 'running', 'limit')
    if (b[1] or '') == '' or tonumber(b[2] or 0) >= tonumber(b[3] or concurrency_of(pk)) then
      return
    end
    call('HSET', book_key(pk), 'ring', '1')
    call('RPUSH', P .. 'ring', pk)
  elseif not fresh then
    return
  end
  wake()
end

-- Put a job in its class's list; front for one that waited before.
local function queue_push(id, pk, class, seq, front)
  local n = call(front and 'LPUSH' or 'RPUSH', P .. 'wait:' .. pk .. ':' .. class, seq .. ':' .. id)
  if front or n == 1 then set_head(pk, class, seq) end
end

-- Remove the head of a class's list; nil when it is empty.  Second: the seq of
-- the new head or nil, which belongs into the book.
local function list_pop(pk, class)
  local list = P .. 'wait:' .. pk .. ':' .. class
  local entry = call('LPOP', list)
  local head = entry and call('LINDEX', list, '0')
  return entry and string.match(entry, '^%d+:(.*)$'), head and string.match(head, '^%d+') or nil
end

local function queue_pop(pk, class)
  local id, head = list_pop(pk, class)
  set_head(pk, class, head)
  return id
end

-- A pending job that will not run.
local function leave_queue(id, pk)
  count_waiting(pk, -1)
  call('ZREM', P .. 'delayed', id)
end

local function drop_lease(id, pk)
  call('ZREM', P .. 'leases', id)
  call('HINCRBY', book_key(pk), 'running', '-1')
end

-- A lease is the text worker/takes: `takes` only grows, so none comes twice.
local function holds(lease, state, worker, takes)
  return state == 'running' and worker .. '/' .. takes == lease
end

-- Remember who wants to hear of the job's end; each channel once.
local function add_waiter(id, waiters, channel)
  waiters = waiters or ''
  if channel == '' or string.find(' ' .. waiters .. ' ', ' ' .. channel .. ' ', 1, true) then
    return
  end
  call('HSET', job_key(id), 'waiters', waiters .. ' ' .. channel)
end

-- The id, and unless the result is large the whole job: what `read` would say,
-- as strings that each end with a NUL (none has one), an empty one, the result.
local function notify(id, waiters, result)
  local text
  for channel in string.gmatch(waiters or '', '%S+') do
    if not text then
      text = id
      if #result <= MAX_TOLD then
        text = id .. '\0' .. table.concat(call('HGETALL', job_key(id)), '\0') .. '\0\0' .. result
      end
    end
    call('PUBLISH', P .. 'done:' .. channel, text)
  end
end

-- The last step of every job, when it is in no queue and has no lease any more.
-- A final job never changes again; it expires.
local function job_end(id, pk, waiters, status, reason, message, ttl, result)
  local k = job_key(id)
  if message == '' then
    call('HSET', k, 'state', status, 'finished', int(now_ms()), 'reason', reason)
  else
    call('HSET', k, 'state', status, 'finished', int(now_ms()), 'reason', reason,
      'message', message)
  end
  call('PEXPIRE', k, ttl)
  if result then
    call('SET', body_key(id), result, 'PX', ttl)
  else
    call('DEL', body_key(id))
  end
  stat('ended_' .. status, 1)
  make_eligible(pk)
  notify(id, waiters, result or '')
end

-- running -> pending, or failed when it was started too often.
local function job_retry(id, delay_ms, max_attempts, ttl, why)
  local k = job_key(id)
  local f = call('HMGET', k, 'pk', 'class', 'seq', 'attempts', 'cancel', 'waiters')
  local pk = f[1]
  drop_lease(id, pk)
  if f[5] then
    return job_end(id, pk, f[6], 'cancelled', 'cancelled', '', ttl)
  end
  if tonumber(f[4]) >= max_attempts then
    return job_end(id, pk, f[6], 'failed', 'lost', why, ttl)
  end
  call('HSET', k, 'state', 'pending')
  -- A job that only changes hands goes on waiting; it must not do so for ever.
  if max_attempts ~= math.huge then call('HSET', k, 'queued', int(now_ms())) end
  call('HDEL', k, 'worker', 'started')
  stat('retried', 1)
  count_waiting(pk, 1)
  if delay_ms > 0 then
    call('ZADD', P .. 'delayed', int(now_ms() + delay_ms), id)
  else
    queue_push(id, pk, f[2], f[3], true)
  end
  make_eligible(pk, delay_ms <= 0)
end
