-- session_find: one session of a key, by its id or its container's name; and
-- whether the key may have what it is found for.
-- ARGV: key, id or name, wish, most frozen sessions of a key; wish is
--   "" for nothing, thaw, freeze, or how many vcpu it is to have
-- Returns { id, state, record, node's description, refusal, has, may }, or
-- nothing when there is none of this key; record is "" before the node has said
-- anything; refusal is "", vcpu or frozen: the key has `has` of them and may
-- have `may`.  What is granted counts from here on; the node says it again.
local pk, name, wish = ARGV[1], ARGV[2], ARGV[3]
local id = name
local f = call('HMGET', session_key(id), 'pk', 'state', 'record', 'node', 'vcpu')
if not f[1] then
  id = call('GET', container_key(pk, name))
  if not id then return {} end
  f = call('HMGET', session_key(id), 'pk', 'state', 'record', 'node', 'vcpu')
end
if f[1] ~= pk then return {} end

local state, own = f[2], tonumber(f[5] or 1)
local refusal, has, may = '', 0, 0
if wish == 'freeze' and state == 'running' then
  has, may = select(2, session_load(pk)), tonumber(ARGV[4])
  if has >= may then refusal = 'frozen' end
elseif wish == 'thaw' and state == 'frozen' then
  has, may = session_load(pk), concurrency_of(pk)
  if has + own > may then
    refusal = 'vcpu'
  else
    call('HSET', session_key(id), 'state', 'running')
  end
elseif tonumber(wish) and state == 'running' then
  has, may = session_load(pk), concurrency_of(pk)
  if tonumber(wish) > own and has - own + tonumber(wish) > may then
    refusal = 'vcpu'
  else
    call('HSET', session_key(id), 'vcpu', wish)
  end
end
return { id, state, f[3] or '', call('GET', P .. 'node:' .. f[4]) or '', refusal, has, may }
