-- Returns whether the missing record or payload of a request may be on its way to another node. The
-- keys of a server without a Cluster stay.
local function is_moving() return false end
