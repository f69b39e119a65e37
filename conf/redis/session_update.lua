#!lua flags=allow-oom
-- session_update: what a node says of a session of its own.
-- placing, running, frozen -> running, frozen, terminated; a final one stays.
-- ARGV: node, id, state, record (JSON), lifetime of a final record in ms,
--       name of its container
-- Returns 1, or 0 when it is not its session (any more).
local node, id, state, record, ttl, container = unpack(ARGV, 1, 6)
local k = session_key(id)
local f = call('HMGET', k, 'node', 'state', 'pk')
if f[1] ~= node or SESSION_FINAL[f[2]] then return 0 end
call('HSET', k, 'state', state, 'record', record, 'container', container)
call('PERSIST', k)
if container ~= '' then call('SET', P .. 'container:' .. container, id) end
call('SADD', P .. 'node_sessions:' .. node, id)
if SESSION_FINAL[state] then session_over(id, f[3], node, ttl) end
return 1
