#!lua flags=allow-oom
-- session_beat: a node with sessions says that it lives, and how to reach it.
-- ARGV: node, lifetime in ms, sessions it has room for, description (JSON)
local node, ttl = ARGV[1], tonumber(ARGV[2])
call('ZADD', P .. 'nodes', int(now_ms() + ttl), node)
call('HSET', P .. 'room', node, ARGV[3])
call('SET', P .. 'node:' .. node, ARGV[4], 'PX', ttl)
call('DEL', P .. 'away:' .. node)
return 1
