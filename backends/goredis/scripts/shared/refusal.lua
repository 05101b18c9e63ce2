-- Returns the reply for a record that cannot be changed, by what state_of has returned for it, and
-- otherwise for a claim that is over.
local function refusal(record, state, problem, now)
  if not record then return { now, 'notfound' } end
  if problem then return { now, 'corrupt', problem } end
  if state == 'ended' then return { now, 'ended', record } end -- mutation: final
  return { now, 'stale' }
end
