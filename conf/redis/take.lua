#!lua flags=allow-oom
-- take: pending -> running, under a lease.  Round robin over the keys in the
-- ring, so a key with many jobs delays another by at most one round.
-- ARGV: worker, node, largest vcpu, how many, lease in ms
-- Returns a list of { id, lease, key, spec, attempts }; spec is 1 when it is a
-- large one.
-- A worker takes only languages of its set can:<worker>.
local worker, node = ARGV[1], ARGV[2]
local max_vcpu, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local ring = P .. 'ring'
local left = call('LLEN', ring)
if left == 0 then return {} end
local now = now_ms()
local started, until_ms = int(now), int(now + ARGV[5])
local MAX_STALE = 1000 -- dead entries passed over in one call: no call is long
local stale = 0
local suitable = {} -- class -> whether this worker can run it

local function suits(class)
  if suitable[class] == nil then
    local lang, vcpu = string.match(class, '^(.*):(%d+)$')
    suitable[class] = tonumber(vcpu) <= max_vcpu
      and call('SISMEMBER', P .. 'can:' .. worker, lang) == 1
  end
  return suitable[class]
end

local function start(id, pk, attempts, takes)
  local lease = worker .. '/' .. takes
  call('HSET', job_key(id), 'state', 'running', 'attempts', attempts, 'takes', takes,
    'started', started, 'worker', worker, 'node', node)
  call('ZADD', P .. 'leases', until_ms, id)
  call('ZADD', P .. 'running:' .. pk, started, id)
  return { id, lease, pk, body_of(id), tonumber(attempts) }
end

-- Starts the key's oldest job that this worker can run.  Jobs cancelled while
-- they waited are still in the list, and are passed over here.  Second: whether
-- the key has more, for this worker or another.
local function start_next(pk)
  local classes = call('ZRANGE', P .. 'classes:' .. pk, '0', '-1')
  local lists = #classes
  for _, class in ipairs(classes) do
    local empty = not suits(class)
    while not empty and stale < MAX_STALE do
      local id
      id, empty = queue_pop(pk, class)
      if empty then lists = lists - 1 end
      local f = id and call('HMGET', job_key(id), 'state', 'attempts', 'takes') or {}
      if f[1] == 'pending' then
        return start(id, pk, int((f[2] or 0) + 1), int((f[3] or 0) + 1)), lists > 0
      end
      stale = stale + 1
    end
  end
  return nil, lists > 0
end

-- Keys that were looked at: with nothing for this worker, and in line again.
local out, passed, again = {}, {}, {}
local turns = 1 -- the first of `again` that is left
local known = {} -- pk -> { pk, free slots, started here }

local function next_key()
  if left > 0 then
    left = left - 1
    local pk = call('LPOP', ring)
    -- The limit may have been lowered since the key entered the ring.
    local k = { pk = pk, n = 0,
      free = concurrency_of(pk) - call('ZCARD', P .. 'running:' .. pk) }
    known[#known + 1] = k
    return k
  end
  local k = again[turns]
  if k then turns = turns + 1 end
  return k
end

while #out < count and stale < MAX_STALE do
  local k = next_key()
  if not k then break end
  local job, more
  if k.free > 0 then job, more = start_next(k.pk) end
  if job then
    out[#out + 1] = job
    k.free, k.n = k.free - 1, k.n + 1
  end
  k.stays = more and k.free > 0
  if k.stays then
    local line = job and again or passed
    line[#line + 1] = k
  end
end

-- The books, once a key; who was not served stands before who was.
for _, k in ipairs(known) do
  if k.n > 0 then call('HINCRBY', book_key(k.pk), 'waiting', int(-k.n)) end
  if not k.stays then call('HDEL', book_key(k.pk), 'ring') end
end
for _, k in ipairs(passed) do call('RPUSH', ring, k.pk) end
for i = turns, #again do call('RPUSH', ring, again[i].pk) end
if #out > 0 then stat('waiting', -#out) end
-- More to do than this worker took: another one should look.
if (#out > 0 or stale >= MAX_STALE) and left + #passed + #again >= turns then wake() end
return out
