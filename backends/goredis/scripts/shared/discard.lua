-- Removes a staged payload, unless the record refers to it, as at the repeat of a call that worked.
-- If UNLINK is denied, the payload expires within seconds.
local function discard(staged, record_key, record)
  -- mutation: stored-payload
  if not record or payload_key(record_key, record) ~= staged then redis.pcall('UNLINK', staged) end
end
