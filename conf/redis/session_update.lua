#!lua flags=allow-oom
-- session_update: what a node says of a session of its own.
-- placing, running, frozen -> running, frozen, terminated; a final one stays.
-- A record that is gone, because Redis lost it, is made again.
-- ARGV: node, id, state, record (JSON), lifetime of a final record in ms,
--       name of its container, key, vcpu
-- Returns 1, or 0 when the session was declared lost, or is another node's: what
-- is left of it here is nobody's.
local node, id, state, record, ttl, container, pk, vcpu = unpack(ARGV, 1, 8)
local k = session_key(id)
local f = call('HMGET', k, 'node', 'state')
if f[1] and f[1] ~= node or f[2] == 'lost' then return 0 end
if f[2] == 'terminated' then return 1 end
if not f[1] then
  local now = int(now_ms())
  call('HSET', k, 'pk', pk, 'node', node, 'vcpu', vcpu, 'created', now)
  call('ZADD', P .. 'sessions:' .. pk, now, id)
end
call('HSET', k, 'state', state, 'record', record, 'container', container, 'vcpu', vcpu)
call('PERSIST', k)
-- Of two with the same name the older one has it, until it is over.
if container ~= '' then call('SET', container_key(pk, container), id, 'NX') end
call('SADD', P .. 'node_sessions:' .. node, id)
if SESSION_FINAL[state] then session_over(id, pk, node, ttl) end
return 1
