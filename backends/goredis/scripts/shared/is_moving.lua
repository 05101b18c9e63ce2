-- Returns whether a record or a payload of a request is missing and may be on its way to another
-- node. The keys of a server without a Cluster stay.
local function is_moving() return false end
