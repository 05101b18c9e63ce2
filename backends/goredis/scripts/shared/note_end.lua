-- Returns the end of a cancel's note, which begins after from. A damaged note has no length.
local function note_end(record, from)
  local outcome, reason = string.match(record, '^(%d%d)(%d%d%d%d%d)', from + 1)
  return from + 7 + tonumber(outcome or '0', 10) + tonumber(reason or '0', 10)
end
