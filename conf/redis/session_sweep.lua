#!lua flags=allow-oom
-- session_sweep: sessions of nodes that do not beat any more are lost, and so
-- are those that no node took up.
-- ARGV: lock, holder, how long a node may be silent in ms, at most so many
-- Returns how many were lost, or -1 when the caller does not lead.
if call('GET', P .. ARGV[1]) ~= ARGV[2] then return -1 end
local silent, most, lost = tonumber(ARGV[3]), tonumber(ARGV[4]), 0
local dead = call('ZRANGEBYSCORE', P .. 'nodes', '-inf', int(now_ms() - silent))
for _, node in ipairs(dead) do
  for _, id in ipairs(call('SRANDMEMBER', P .. 'node_sessions:' .. node, int(most - lost))) do
    session_lose(id, call('HGET', session_key(id), 'pk') or '', node)
    lost = lost + 1
  end
  if call('SCARD', P .. 'node_sessions:' .. node) == 0 then
    call('ZREM', P .. 'nodes', node)
    call('HDEL', P .. 'room', node)
  end
  if lost >= most then break end
end
return lost
