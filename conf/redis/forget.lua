#!lua flags=allow-oom
-- forget: delete a key and its books.  With force its pending jobs end as
-- cancelled and its running ones are told to; without, active jobs prevent it.
-- ARGV: key, "force" or "", most jobs to cancel in one call, result lifetime in ms
-- Returns { word, jobs }: none (no such key), active (nothing was changed), more
-- (jobs were cancelled, call again) or ok (jobs that are still ending).
local pk, force, batch, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local key = P .. 'key:' .. pk
local b = call('HMGET', book_key(pk), 'waiting', 'running', 'heads')
local waiting, running = tonumber(b[1] or 0), tonumber(b[2] or 0)
if call('EXISTS', key) == 0 then
  call('SREM', P .. 'keys', pk)
  return { 'none', 0 }
end
if force == '' and waiting + running > 0 then return { 'active', waiting + running } end

-- No gateway takes another job while we are at it.
call('HSET', key, 'suspended', 1)
call('PUBLISH', P .. 'keys', pk)

local popped, ended = 0, 0
local function stop(id)
  local f = call('HMGET', job_key(id), 'state', 'pk', 'waiters')
  if f[1] ~= 'pending' or f[2] ~= pk then return end
  leave_queue(id, pk)
  job_end(id, pk, f[3], 'cancelled', 'cancelled', '', ttl)
  ended = ended + 1
end
for class in pairs(heads_of(b[3])) do
  local id = popped < batch and queue_pop(pk, class)
  while id do
    popped = popped + 1
    stop(id)
    id = popped < batch and queue_pop(pk, class)
  end
end
if popped >= batch then return { 'more', ended } end
if waiting > ended then -- the others wait for a retry
  for _, id in ipairs(call('ZRANGE', P .. 'delayed', 0, -1)) do stop(id) end
end
for _, id in ipairs(running > 0 and call('ZRANGE', P .. 'leases', '0', '-1') or {}) do
  local f = call('HMGET', job_key(id), 'state', 'worker', 'pk')
  if f[1] == 'running' and f[3] == pk then
    call('HSET', job_key(id), 'cancel', '1')
    call('PUBLISH', P .. 'ctl:' .. f[2], id)
  end
end

call('LREM', P .. 'ring', '1', pk)
call('HSET', book_key(pk), 'ring', '0')
call('DEL', key, P .. 'jobs:' .. pk)
call('SREM', P .. 'keys', pk)
if running == 0 then -- else sweep does it once they have ended
  call('SREM', P .. 'active', pk)
  call('DEL', book_key(pk))
end
call('PUBLISH', P .. 'keys', pk)
return { 'ok', running }
