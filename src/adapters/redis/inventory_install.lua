-- Puts a staged image in place of what was known of the sale, if the mark still says that the
-- rebuild of epoch ARGV[3] is under way. KEYS[8] to KEYS[10] are the staged users, orders and keys,
-- ARGV[4] to ARGV[6] how many of each there must be, ARGV[7] the units held, ARGV[8] those given
-- back so far, then come the terms.

local sale = read_sale()
if not sale.building and sale.epoch == ARGV[3] then -- asked again
  return {why_cold(sale) or status_of(sale)}
end
if sale.building ~= ARGV[3] then return {'overtaken'} end

local STAGED = {KEYS[8], KEYS[9], KEYS[10]}
local LIVE = {USERS, ORDERS, BOUND}
for i = 1, 3 do
  if redis.call('HLEN', STAGED[i]) ~= tonumber(ARGV[3 + i]) then return {'incomplete'} end
end
redis.call('UNLINK', USERS, ORDERS, BOUND, PENDING, RECORDS, WITHDRAWALS)
for i = 1, 3 do
  if ARGV[3 + i] ~= '0' then
    redis.call('PERSIST', STAGED[i])
    redis.call('RENAME', STAGED[i], LIVE[i])
  end
end

-- Terms may have changed since the image was made.
local id = ARGV[#ARGV]
if not sale.version or sale.id ~= id or sale.version <= tonumber(ARGV[9]) then
  write_terms(sale, 9)
end
local run_id, replid = identity()
sale.epoch, sale.building = ARGV[3], nil
sale.held, sale.withdrawing, sale.given_back = tonumber(ARGV[7]), 0, tonumber(ARGV[8])
sale.moves = (sale.moves or 0) + 1
redis.call('HDEL', SALE, 'building', 'building_since')
redis.call('HSET', SALE, 'epoch', sale.epoch, 'run_id', run_id, 'replid', replid,
           'held', whole(sale.held), 'withdrawing', '0', 'given_back', whole(sale.given_back),
           'moves', whole(sale.moves))
local status = status_of(sale)
tell('installed', status)
return {status}
