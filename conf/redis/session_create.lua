-- session_create: nothing -> placing.  Admission, and a node with room.
-- ARGV: id, key, vcpu, most that the key may have at once, lifetime of a record
--       that is never taken up in ms, then name, value, ... of the record
-- Returns { word, node's description or "", active, limit }; word is
--   ok, busy (the key has too many) or full (no node has room).
local id, pk, vcpu, limit, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local now = now_ms()
local active = session_load(pk)
if active + vcpu > limit then return { 'busy', '', active, limit } end

local best, most = nil, 0
for _, node in ipairs(call('ZRANGEBYSCORE', P .. 'nodes', int(now), '+inf')) do
  local room = tonumber(call('HGET', P .. 'room', node) or 0)
  if room > most then best, most = node, room end
end
if not best then return { 'full', '', active, limit } end

call('HINCRBY', P .. 'room', best, -1) -- until its next beat says it better
local k = session_key(id)
call('HSET', k, 'state', 'placing', 'pk', pk, 'node', best, 'vcpu', int(vcpu),
  'created', int(now), unpack(ARGV, 6))
call('PEXPIRE', k, ttl)
call('ZADD', P .. 'sessions:' .. pk, int(now), id)
return { 'ok', call('GET', P .. 'node:' .. best) or '', active, limit }
