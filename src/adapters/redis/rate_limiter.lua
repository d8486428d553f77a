-- Several attempts against the limits of addresses and users, in one call. GCRA as domain/rate.h
-- has it, in microseconds of Redis' clock; a key holds the theoretical arrival of its subject's
-- next request and expires when that is past, because it then says nothing.
--
-- KEYS    of each attempt in turn: its address's, then its user's (those that count)
-- ARGV    1, 2: an address's interval and tolerance; 3, 4: a user's; 5: a letter an attempt:
--         a: address, u: user, b: both; r: undo what an attempt took from an address
-- returns for each attempt 0: allowed and counted; n > 0: its address may come back in n
--         microseconds; n < 0: its user in -n. What is refused is counted nowhere.
local time = redis.call('TIME')
-- Counted from the year 2020, the numbers are exact to a thirtieth of a microsecond.
local now = (time[1] - 1600000000) * 1000000 + time[2]
local address = {interval = tonumber(ARGV[1]), tolerance = tonumber(ARGV[2])}
local user = {interval = tonumber(ARGV[3]), tolerance = tonumber(ARGV[4])}

-- The arrival that counts, and how long the subject has to wait (0: not at all).
local function look(key, limit)
    local arrival = tonumber(redis.call('GET', key) or 0)
    -- Not further ahead than a whole burst: the clock of this Redis may have gone back.
    arrival = math.min(arrival, now + limit.tolerance + limit.interval)
    if arrival < now then arrival = now end
    local wait = arrival - limit.tolerance - now
    if wait < 1 then wait = 0 end -- sums of many intervals are not exact
    return arrival, math.ceil(wait)
end

local function count(key, arrival)
    local life_ms = math.ceil((arrival - now) / 1000) + 1
    redis.call('SET', key, string.format('%.3f', arrival), 'PX', life_ms)
end

local answers = {}
local at = 0
for letter in string.gmatch(ARGV[5], '.') do
    local answer = 0
    local address_key, address_arrival, user_key, user_arrival, wait
    if letter == 'a' or letter == 'b' or letter == 'r' then
        at = at + 1
        address_key = KEYS[at]
        address_arrival, wait = look(address_key, address)
        if letter ~= 'r' then answer = wait end
    end
    if letter == 'u' or letter == 'b' then
        at = at + 1
        user_key = KEYS[at]
        user_arrival, wait = look(user_key, user)
        if answer == 0 then answer = -wait end
    end
    if letter == 'r' then
        count(address_key, math.max(now, address_arrival - address.interval))
    elseif answer == 0 then
        if address_key then count(address_key, address_arrival + address.interval) end
        if user_key then count(user_key, user_arrival + user.interval) end
    end
    answers[#answers + 1] = answer
end
return answers
