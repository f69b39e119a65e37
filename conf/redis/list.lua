-- list: the newest jobs of a key.
-- ARGV: key, most
-- Returns a list of { id, state, language, network mode, created ms }.
local out = {}
for _, id in ipairs(redis.call('ZREVRANGE', P .. 'jobs:' .. ARGV[1], 0, ARGV[2] - 1)) do
  local f = redis.call('HMGET', job_key(id), 'state', 'lang', 'net', 'created')
  if f[1] then out[#out + 1] = { id, f[1], f[2], f[3], f[4] } end
end
return out
