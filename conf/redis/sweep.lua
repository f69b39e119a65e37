#!lua flags=allow-oom
-- sweep: books that drifted, a page of keys at a time.  Slots that no lease backs
-- are freed, limits copied, list entries of expired jobs dropped, keys that wait
-- for no reason put in the ring, idle keys forgotten.
-- ARGV: scheduler (must still lead), cursor
-- Returns { next cursor, slots freed, 1 when a list was too long for one call },
-- or nil when it leads no more.
if call('GET', P .. 'leader') ~= ARGV[1] then return nil end
local MAX_OLD = 1000 -- entries looked at of one key
local now, freed, more = now_ms(), 0, 0

-- The oldest first, up to one that lives: those behind it wait for it.
local function drop_expired(list)
  local ids, gone = call('LRANGE', list, '0', int(MAX_OLD - 1)), 0
  while gone < #ids and call('EXISTS', job_key(ids[gone + 1])) == 0 do gone = gone + 1 end
  if gone > 0 then call('LTRIM', list, int(gone), '-1') end
  if gone == MAX_OLD then more = 1 end
end

-- A book is kept while the key stands in the ring, where the next take finds
-- nothing, and while its bucket is not full; that of a key that is gone is not.
local function book_is_closed(pk)
  local k = call('HMGET', P .. 'key:' .. pk, 'rate', 'burst')
  local b = call('HMGET', book_key(pk), 'tokens', 'at', 'ring')
  if b[3] == '1' then return false end
  if not (k[1] and k[2] and b[1] and b[2]) then return true end
  return b[1] + (now - b[2]) * k[1] / 60000 >= tonumber(k[2])
end

-- How many jobs of each key run; asked once, and only when some book says so.
local leased
local function runs(pk)
  if not leased then
    leased = {}
    for _, id in ipairs(call('ZRANGE', P .. 'leases', '0', '-1')) do
      local owner = call('HGET', job_key(id), 'pk')
      if owner then leased[owner] = (leased[owner] or 0) + 1 end
    end
  end
  return leased[pk] or 0
end

local page = call('SSCAN', P .. 'active', ARGV[2], 'COUNT', '20')
for _, pk in ipairs(page[2]) do
  local said = tonumber(call('HGET', book_key(pk), 'running') or 0)
  local running = said ~= 0 and runs(pk) or 0
  freed = freed + math.max(0, said - running)
  call('HSET', book_key(pk), 'running', int(running), 'limit', int(concurrency_of(pk)))
  drop_expired(P .. 'jobs:' .. pk)
  make_eligible(pk)
  if running == 0 and not next(book_heads(pk)) and call('EXISTS', P .. 'jobs:' .. pk) == 0
    and book_is_closed(pk) then
    call('SREM', P .. 'active', pk)
    call('DEL', book_key(pk))
  end
end
if freed > 0 then stat('slots_freed', freed) end
return { page[1], freed, more }
