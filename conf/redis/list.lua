-- list: the newest jobs of a key.
-- ARGV: key, most
-- Returns a list of { id, state, language, network mode, created ms }.
local out, ids = {}, call('LRANGE', P .. 'jobs:' .. ARGV[1], -ARGV[2], '-1')
for i = #ids, 1, -1 do
  local f = call('HMGET', job_key(ids[i]), 'state', 'lang', 'net', 'created')
  if f[1] then out[#out + 1] = { ids[i], f[1], f[2], f[3], f[4] } end
end
return out
