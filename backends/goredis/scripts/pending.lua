-- Tells whether a claim could get a request.
-- KEYS[1]  the queue
-- KEYS[2]  the lapsing claims
-- Returns  1 or 0
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then return 0 end
--@include clock claimable
return math.min(1, claimable(redis.call('ZCOUNT', KEYS[1], now, '+inf'), KEYS[2], now, 1))
