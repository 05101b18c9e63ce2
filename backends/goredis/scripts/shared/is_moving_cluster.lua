-- On a Cluster: see is_moving.lua. The key may be on its way if a queue of the call has the id.
local function is_moving(key, id)
  if redis.pcall('EXISTS', key) == 1 then return false end
  for number = 2, #KEYS do
    if type(redis.pcall('ZSCORE', KEYS[number], id)) == 'string' then return true end
  end
  return false
end
