-- session_open: the id alone: which key's session it is, for the compatible way
-- to attach, where the id is the capability.
-- ARGV: id
-- Returns the key, or "".
return call('HGET', session_key(ARGV[1]), 'pk') or ''
