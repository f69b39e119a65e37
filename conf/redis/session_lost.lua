#!lua flags=allow-oom
-- session_lost: a node says that a session of its own is gone with its shim.
-- ARGV: node, id
local node, id = ARGV[1], ARGV[2]
local f = call('HMGET', session_key(id), 'node', 'state', 'pk')
if f[1] ~= node or SESSION_FINAL[f[2]] then return 0 end
session_lose(id, f[3], node)
return 1
