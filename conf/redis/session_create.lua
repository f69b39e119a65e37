-- session_create: nothing -> placing.  Admission, and a node with room.
-- ARGV: id, key, vcpu, most that the key may have at once, lifetime of a record
--       that is never taken up in ms, shell, then name, value, ... of the record
-- Returns { word, node's description or "", active, limit }; word is
--   ok, busy (the key has too many), none (no node has the shell) or full (none
--   of those that have it has room).
local id, pk, vcpu, limit, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local shell = '"' .. ARGV[6] .. '"' -- as it stands in the list of a description
local now = now_ms()
local active = session_load(pk)
if active + vcpu > limit then return { 'busy', '', active, limit } end

local nodes = call('ZRANGEBYSCORE', P .. 'nodes', int(now), '+inf')
local word, best, most = #nodes > 0 and 'none' or 'full', nil, 0
for _, node in ipairs(nodes) do
  local said = call('GET', P .. 'node:' .. node) or ''
  if said:find(shell, 1, true) then
    local room = tonumber(call('HGET', P .. 'room', node) or 0)
    word = 'full'
    if room > most then best, most = { node, said }, room end
  end
end
if not best then return { word, '', active, limit } end

call('HINCRBY', P .. 'room', best[1], -1) -- until its next beat says it better
local k = session_key(id)
call('HSET', k, 'state', 'placing', 'pk', pk, 'node', best[1], 'vcpu', int(vcpu),
  'created', int(now), unpack(ARGV, 7))
call('PEXPIRE', k, ttl)
call('ZADD', P .. 'sessions:' .. pk, int(now), id)
return { 'ok', best[2], active, limit }
