-- read: a job as its owner sees it; changes no state.
-- ARGV: id, key that asks, channel to tell when it ends or ""
-- Returns { fields of the job as name, value, ... }, result or ""; or nil when
-- it is unknown or another key's.  The result is 1 when it is a large one.
local id, pk, channel = unpack(ARGV)
local f = call('HGETALL', job_key(id))
local job = {}
for i = 1, #f, 2 do job[f[i]] = f[i + 1] end
if job.pk ~= pk then return nil end
if FINAL[job.state] then return { f, body_of(id) } end
add_waiter(id, job.waiters, channel)
return { f, '' }
