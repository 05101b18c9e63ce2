-- Returns where the note of a cancel ends. The note begins behind from.
local function note_end(record, from)
  local outcome, reason = string.match(record, '^(%d%d)(%d%d%d%d%d)', from + 1)
  return from + 7 + tonumber(outcome, 10) + tonumber(reason, 10)
end
