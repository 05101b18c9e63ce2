-- Returns where the headers of a record end that has some.
local function headers_end(record, mailbox_end)
  return mailbox_end + 5 + tonumber(string.sub(record, mailbox_end + 1, mailbox_end + 5), 10)
end
