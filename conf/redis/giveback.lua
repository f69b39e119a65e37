#!lua flags=allow-oom
-- giveback: running -> pending at the front of its queue.  A worker that drains
-- returns what it cannot finish, which is no attempt; one whose sandbox died
-- under a job returns that, which is one, so that a job cannot do it for ever.
-- ARGV: result lifetime in ms, most attempts or 0 (this was no attempt), then
--       id and lease of each
-- Returns how many.
local ttl, most = ARGV[1], tonumber(ARGV[2])
local n = 0
for i = 3, #ARGV, 2 do
  local f = call('HMGET', job_key(ARGV[i]), 'state', 'worker', 'takes')
  if holds(ARGV[i + 1], f[1], f[2], f[3]) then
    if most == 0 then call('HINCRBY', job_key(ARGV[i]), 'attempts', '-1') end
    job_retry(ARGV[i], 0, most == 0 and math.huge or most, ttl, 'its sandbox died each time')
    n = n + 1
  end
end
return n
