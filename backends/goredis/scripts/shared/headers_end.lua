-- Returns the end of a record's headers. The record must have some. Damaged ones have no length.
local function headers_end(record, mailbox_end)
  local length = tonumber(string.sub(record, mailbox_end + 1, mailbox_end + 5), 10)
  return mailbox_end + 5 + (length or 0)
end
