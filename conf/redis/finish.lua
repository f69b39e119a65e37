#!lua flags=allow-oom
-- finish: running -> completed, failed, timeout or cancelled.  Only the holder
-- of the lease can, and only once.
-- ARGV: id, lease, status, reason, message or "", result, lifetime in ms
-- Returns 1, or 0 when the lease is no longer this one's.
local id, lease, status, reason, message, result, ttl = unpack(ARGV)
local f = redis.call('HMGET', job_key(id), 'state', 'lease')
if f[1] ~= 'running' or f[2] ~= lease then return 0 end
redis.call('SET', P .. 'result:' .. id, result, 'PX', ttl)
job_end(id, status, reason, message, tonumber(ttl))
return 1
