-- Returns whether a missing record may be on its way to another node. Only a Cluster moves records.
local function is_moving() return false end
