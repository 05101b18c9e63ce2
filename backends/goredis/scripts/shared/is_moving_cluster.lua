-- On a Cluster, returns whether the missing record of a claim may be on its way to another node: a
-- queue still has its id.
local function is_moving(id)
  for number = 2, #KEYS do
    if type(redis.pcall('ZSCORE', KEYS[number], id)) == 'string' then return true end
  end
  return false
end
