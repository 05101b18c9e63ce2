-- Returns where the note of a cancel ends. It begins behind from. A damaged one has no length.
local function note_end(record, from)
  local outcome, reason = string.match(record, '^(%d%d)(%d%d%d%d%d)', from + 1)
  return from + 7 + tonumber(outcome or '0', 10) + tonumber(reason or '0', 10)
end
