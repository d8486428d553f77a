-- One purchase, atomically: is there stock, is the buyer new, then take the unit and queue the
-- order. Redis runs a script alone, so nothing can come between the checks and the writes.
--
-- KEYS  stock (integer), buyers (set of user ids), orders (list, newest first)
-- ARGV  user id, quantity, order as JSON
-- Answers the units that are left, or  -1 no such sale   -2 sold out   -3 this buyer has bought.
local stock = redis.call('GET', KEYS[1])
if not stock then
  return -1
end
if tonumber(stock) < tonumber(ARGV[2]) then
  return -2
end
if redis.call('SADD', KEYS[2], ARGV[1]) == 0 then
  return -3
end
redis.call('LPUSH', KEYS[3], ARGV[3])
return redis.call('DECRBY', KEYS[1], ARGV[2])
