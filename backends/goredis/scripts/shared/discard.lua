-- Removes a payload that has been staged for nothing. If this is the repeat of a call that worked,
-- the record refers to it. If UNLINK is denied, the payload expires within seconds.
local function discard(staged, record_key, record)
  if not record or payload_key(record_key, record) ~= staged then redis.pcall('UNLINK', staged) end
end
