-- On a Cluster: see wake.lua.
local function wake(key)
  return redis.pcall('SPUBLISH', string.sub(key, 1, string.find(key, '}', 1, true)), key)
end
