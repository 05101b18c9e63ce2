-- Returns the state of a record at a time: 'waiting' for its first claim, 'running', 'expired' if
-- its lease has expired and it may be claimed again, or 'ended'. A missing record has ended. For
-- the error of a GET, or a string that is no record, it returns nil and the problem. For a live
-- record, the third result is the end of its mailbox. The fourth is '1' if its payload has its own
-- key, '2' if it has headers, '3' for both, else '0'. See record.go for the bytes of a record.
local function state_of(record, now)
  if not record then return 'ended' end
  if record.err then return nil, 'GET: ' .. record.err end
  local state, deadline, length, place = string.match(record,
    '^1([prce])(%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d(%d%d%d)([0-3])%d')
  if state == 'e' then return 'ended' end
  local mailbox_end = state and 90 + tonumber(length, 10)
  -- mutation: version
  if not state or #record < mailbox_end + 2 then return nil, 'not a record of version 1' end
  if now <= deadline then -- mutation: deadline
    state = state == 'p' and 'waiting' or 'running'
  elseif state == 'p' then
    return 'ended' -- mutation: timed-out
  elseif not string.find(record, '^' .. string.rep('%d', 52), 39) then
    return nil, 'not a record of version 1'
  elseif now <= string.sub(record, 39, 54) then -- mutation: last-deadline
    state = 'expired'
  else
    return 'ended'
  end
  return state, nil, mailbox_end, place
end
