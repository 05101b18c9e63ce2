-- Returns the reply for a refused change, from the results of state_of. If the request is live, the
-- caller's claim is stale.
local function refusal(record, state, problem, now)
  if not record then return { now, 'notfound' } end
  if problem then return { now, 'corrupt', problem } end
  if state == 'ended' then return { now, 'ended', record } end -- mutation: final
  return { now, 'stale' }
end
