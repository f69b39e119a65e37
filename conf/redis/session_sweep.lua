#!lua flags=allow-oom
-- session_sweep: sessions of nodes that do not beat any more, and did not say
-- that they would be away, are lost.
-- ARGV: scheduler (must still lead), how long after its beat has expired a node
--       is dead in ms, at most so many
-- Returns { how many were lost }, or nil when it leads no more.
if call('GET', P .. 'leader') ~= ARGV[1] then return nil end
local silent, most, lost = tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local dead = call('ZRANGEBYSCORE', P .. 'nodes', '-inf', int(now_ms() - silent))
for _, node in ipairs(dead) do
  if call('EXISTS', P .. 'away:' .. node) == 0 then
    for _, id in ipairs(call('SRANDMEMBER', P .. 'node_sessions:' .. node, int(most - lost))) do
      session_lose(id, call('HGET', session_key(id), 'pk') or '', node)
      lost = lost + 1
    end
    if call('SCARD', P .. 'node_sessions:' .. node) == 0 then
      call('ZREM', P .. 'nodes', node)
      call('HDEL', P .. 'room', node)
    end
  end
  if lost >= most then break end
end
return { lost }
