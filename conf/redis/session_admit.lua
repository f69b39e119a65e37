-- session_admit: may a session that is there run with so many processors?
-- ARGV: id, key, vcpu (0: as many as it has), most that the key may have at
--       once (0: what the key's record says)
-- Returns { word, active, limit }; word is ok or busy.
local id, pk, vcpu, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local f = call('HMGET', session_key(id), 'state', 'vcpu')
local own = tonumber(f[2] or 1)
local active = session_load(pk)
if f[1] ~= 'frozen' and not SESSION_FINAL[f[1]] then active = active - own end
if vcpu == 0 then vcpu = own end
if limit == 0 then limit = concurrency_of(pk) end
return { active + vcpu > limit and 'busy' or 'ok', active, limit }
