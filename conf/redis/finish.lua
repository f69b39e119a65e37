#!lua flags=allow-oom
-- finish: running -> completed, failed, timeout or cancelled.  Only the holder
-- of the lease can, and only once.
-- ARGV: id, lease, status, reason, message or "", result, lifetime in ms
-- Returns 1, or 0 when the lease is no longer this one's.
local id, lease, status, reason, message, result, ttl = unpack(ARGV)
local f = call('HMGET', job_key(id), 'state', 'worker', 'takes', 'pk', 'waiters')
if not holds(lease, f[1], f[2], f[3]) then return 0 end
drop_lease(id, f[4])
job_end(id, f[4], f[5], status, reason, message, ttl, result)
return 1
