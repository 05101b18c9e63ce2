-- Returns the key of the payload of a record whose payload has a key of its own.
local function payload_key(record_key, record)
  return string.sub(record_key, 1, -33) .. 'p/' .. string.sub(record, -26)
end
