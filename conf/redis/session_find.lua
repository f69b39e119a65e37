-- session_find: one session of a key, by its id or its container's name.
-- ARGV: key, id or name
-- Returns { id, state, record, node's description }, or nothing when there is
-- none of this key; record is "" before the node has said anything.
local pk, name = ARGV[1], ARGV[2]
local id = name
local f = call('HMGET', session_key(id), 'pk', 'state', 'record', 'node')
if not f[1] then
  id = call('GET', container_key(pk, name))
  if not id then return {} end
  f = call('HMGET', session_key(id), 'pk', 'state', 'record', 'node')
end
if f[1] ~= pk then return {} end
return { id, f[2], f[3] or '', call('GET', P .. 'node:' .. f[4]) or '' }
