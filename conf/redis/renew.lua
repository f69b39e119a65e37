#!lua flags=allow-oom
-- renew: running -> running, for longer.
-- ARGV: worker, lease in ms, then id and lease of each job it holds
-- Returns { id and lease of each that is lost }, { ids to cancel }.
local worker, lease_ms = ARGV[1], tonumber(ARGV[2])
local until_ms = int(now_ms() + lease_ms)
local lost, cancelled = {}, {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local f = call('HMGET', job_key(id), 'state', 'worker', 'takes', 'cancel')
  if holds(ARGV[i + 1], f[1], f[2], f[3]) then
    call('ZADD', P .. 'leases', until_ms, id)
    if f[4] then cancelled[#cancelled + 1] = id end
  else
    -- With its lease: the worker may have taken the same job again.
    lost[#lost + 1] = id
    lost[#lost + 1] = ARGV[i + 1]
  end
end
return { lost, cancelled }
