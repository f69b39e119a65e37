-- keyset: change fields of a key that exists; gateways forget what they knew.
-- ARGV: key, then field and value of each
-- Returns 1, or 0 when there is no such key.
local pk = ARGV[1]
if call('EXISTS', P .. 'key:' .. pk) == 0 then return 0 end
call('HSET', P .. 'key:' .. pk, unpack(ARGV, 2))
call('PUBLISH', P .. 'keys', pk)
make_eligible(pk) -- its limit may have been raised
return 1
