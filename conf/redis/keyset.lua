-- keyset: change fields of a key that exists; gateways forget what they knew.
-- ARGV: key, then field and value of each
-- Returns 1, or 0 when there is no such key.
local pk = ARGV[1]
if call('EXISTS', P .. 'key:' .. pk) == 0 then return 0 end
call('HSET', P .. 'key:' .. pk, unpack(ARGV, 2))
call('PUBLISH', P .. 'keys', pk)
if call('EXISTS', book_key(pk)) == 1 then
  call('HSET', book_key(pk), 'limit', int(concurrency_of(pk)))
  make_eligible(pk) -- it may have been raised
end
return 1
