#!lua flags=allow-oom
-- session_away: a node stops, and its sessions live on: it takes no more, and is
-- not dead before that time is over.
-- ARGV: node, how long it may be away in ms; 0: as if it had died
local node, ms = ARGV[1], tonumber(ARGV[2])
call('ZADD', P .. 'nodes', int(now_ms()), node)
call('HDEL', P .. 'room', node)
call('DEL', P .. 'node:' .. node)
if ms > 0 then call('SET', P .. 'away:' .. node, '1', 'PX', int(ms)) end
return 1
