-- Returns whether the missing record of a claim may be on its way to another node, as on a Cluster.
local function is_moving() return false end
