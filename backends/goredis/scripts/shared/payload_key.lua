-- Returns the key of a record's payload. The payload must have its own key.
local function payload_key(record_key, record)
  return string.sub(record_key, 1, -33) .. 'p/' .. string.sub(record, -26)
end
