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
  return { id, lease, pk, body_of(id), tonumber(attempts) }
end

-- Starts the key's oldest job that this worker can run.  Jobs cancelled while
-- they waited are still in the list, and are passed over here.
local function start_next(k)
  while stale < MAX_STALE do
    local class, seq
    for c, s in pairs(k.heads) do
      s = tonumber(s)
      if (not seq or s < seq) and suits(c) then class, seq = c, s end
    end
    if not class then return nil end
    local id
    id, k.heads[class] = list_pop(k.pk, class)
    local f = id and call('HMGET', job_key(id), 'state', 'attempts', 'takes') or {}
    if f[1] == 'pending' then
      return start(id, k.pk, int((f[2] or 0) + 1), int((f[3] or 0) + 1))
    end
    stale = stale + 1
  end
end

-- Keys that were looked at: with nothing for this worker, and in line again.
local out, passed, again = {}, {}, {}
local turns = 1 -- the first of `again` that is left
local known = {} -- { pk, waiting, running, limit, heads }

local function next_key()
  if left > 0 then
    left = left - 1
    local pk = call('LPOP', ring)
    local b = call('HMGET', book_key(pk), 'waiting', 'running', 'limit', 'heads')
    -- The limit may have been lowered since the key entered the ring.
    local k = { pk = pk, waiting = tonumber(b[1] or 0), running = tonumber(b[2] or 0),
      limit = tonumber(b[3]) or concurrency_of(pk), heads = heads_of(b[4]) }
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
  local job = k.running < k.limit and start_next(k)
  if job then
    out[#out + 1] = job
    k.waiting, k.running = k.waiting - 1, k.running + 1
  end
  k.stays = k.running < k.limit and next(k.heads)
  if k.stays then
    local line = job and again or passed
    line[#line + 1] = k
  end
end

-- The books, once a key; who was not served stands before who was.
for _, k in ipairs(known) do
  call('HSET', book_key(k.pk), 'waiting', int(k.waiting), 'running', int(k.running),
    'ring', k.stays and '1' or '0', 'heads', heads_text(k.heads))
end
for _, k in ipairs(passed) do call('RPUSH', ring, k.pk) end
for i = turns, #again do call('RPUSH', ring, again[i].pk) end
if #out > 0 then stat('waiting', -#out) end
-- More to do than this worker took: another one should look.
if (#out > 0 or stale >= MAX_STALE) and left + #passed + #again >= turns then wake() end
return out
