-- What the scripts of sessions share, after _prelude.lua: apart, because a script
-- makes each function anew when it is called.
local SESSION_FINAL = { terminated = true, lost = true }
local SESSION_KEPT = '360000' -- ms that the record of a lost one is kept

local function session_key(id) return P .. 'session:' .. id end
-- Of a key's own: nodes choose names by chance, and know nothing of each other's.
local function container_key(pk, name) return P .. 'container:' .. pk .. ':' .. name end

-- What counts against a key's limit: the vcpu of those that are not frozen; and
-- how many are.  Ids of records that are gone leave the list.
local function session_load(pk)
  local sum, frozen = 0, 0
  for _, id in ipairs(call('ZRANGE', P .. 'sessions:' .. pk, '0', '-1')) do
    local f = call('HMGET', session_key(id), 'state', 'vcpu')
    if not f[1] then
      call('ZREM', P .. 'sessions:' .. pk, id)
    elseif f[1] == 'frozen' then
      frozen = frozen + 1
    elseif not SESSION_FINAL[f[1]] then
      sum = sum + tonumber(f[2] or 1)
    end
  end
  return sum, frozen
end

local function session_over(id, pk, node, ttl)
  local k = session_key(id)
  local container = call('HGET', k, 'container')
  call('ZREM', P .. 'sessions:' .. pk, id)
  call('SREM', P .. 'node_sessions:' .. node, id)
  call('PEXPIRE', k, ttl)
  if container and container ~= '' then
    local name = container_key(pk, container)
    if call('GET', name) == id then call('PEXPIRE', name, ttl) end
  end
end

local function session_lose(id, pk, node)
  call('HSET', session_key(id), 'state', 'lost')
  session_over(id, pk, node, SESSION_KEPT)
end
