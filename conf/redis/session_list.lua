-- session_list: the sessions of a key that are not over, the newest first.
-- ARGV: key, at most so many
-- Returns record, record, ... (JSON); those that were only asked for are left out.
local found = {}
for _, id in ipairs(call('ZREVRANGE', P .. 'sessions:' .. ARGV[1], '0', int(ARGV[2] - 1))) do
  local f = call('HMGET', session_key(id), 'state', 'record')
  if f[2] and not SESSION_FINAL[f[1]] then found[#found + 1] = f[2] end
end
return found
