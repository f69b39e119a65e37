-- session_here: the sessions that are said to be on a node.
-- ARGV: node
-- Returns their ids.
return call('SMEMBERS', P .. 'node_sessions:' .. ARGV[1])
