-- A share of the system's limit: as many requests as GCRA (domain/rate.h) would let in now, up to
-- what is asked for, counted at once. Microseconds of Redis' clock, as in rate_limiter.lua.
--
-- KEYS    1: the theoretical arrival of the system's next request; 2: who has asked lately
-- ARGV    1, 2: interval and tolerance; 3: requests wanted; 4: who asks; 5: after how many
--         milliseconds one who has not asked is forgotten
-- returns {requests granted, microseconds until the next one is free, how many ask}
local time = redis.call('TIME')
local now = (time[1] - 1600000000) * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local tolerance = tonumber(ARGV[2])
local wanted = tonumber(ARGV[3])

local arrival = tonumber(redis.call('GET', KEYS[1]) or 0)
arrival = math.min(arrival, now + tolerance + interval) -- the clock may have gone back
arrival = math.max(now, arrival)

-- The n-th from now is let in while arrival + (n - 1) * interval <= now + tolerance, give or take
-- the microsecond that the sums may be wrong by.
local free = math.floor((now + tolerance + 1 - arrival) / interval) + 1
local granted = math.max(0, math.min(wanted, free))
arrival = arrival + granted * interval
local life_ms = math.ceil((arrival - now) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.3f', arrival), 'PX', life_ms)

local forget_ms = tonumber(ARGV[5])
redis.call('ZADD', KEYS[2], now, ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - forget_ms * 1000)
redis.call('PEXPIRE', KEYS[2], forget_ms)
return {granted, math.max(0, math.ceil(arrival - tolerance - now)), redis.call('ZCARD', KEYS[2])}
