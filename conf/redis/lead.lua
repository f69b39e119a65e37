#!lua flags=allow-oom
-- lead: take or keep the scheduler's lock; with 0 ms give it up.
-- ARGV: scheduler, lock in ms or 0
-- Returns { 1 when it leads, the time in ms }.
local MAX_LOCK = 60000 -- of scheduler.lock_ms; one that lasts longer: the clock was set back
local lock, me, ms = P .. 'leader', ARGV[1], ARGV[2]
local holder = call('GET', lock)
if holder and holder ~= me and (ms == '0' or call('PTTL', lock) <= MAX_LOCK) then
  return { 0, now_ms() }
end
if ms == '0' then
  call('DEL', lock)
  return { 0, now_ms() }
end
call('SET', lock, me, 'PX', ms)
return { 1, now_ms() }
