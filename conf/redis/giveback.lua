-- giveback: running -> pending at the front of its queue, not counted as an
-- attempt.  A worker that drains returns what it cannot finish in time.
-- ARGV: result lifetime in ms, then id and lease of each
-- Returns how many.
local n = 0
for i = 2, #ARGV, 2 do
  local f = redis.call('HMGET', job_key(ARGV[i]), 'state', 'lease')
  if f[1] == 'running' and f[2] == ARGV[i + 1] then
    redis.call('HINCRBY', job_key(ARGV[i]), 'attempts', -1)
    job_retry(ARGV[i], 0, math.huge, tonumber(ARGV[1]), '')
    n = n + 1
  end
end
return n
