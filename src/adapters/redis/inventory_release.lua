-- Gives holds back. ARGV[3] is the epoch that they must be held under, ARGV[4] the orders and
-- withdrawals, 20 bytes each, then come the sale's terms. "fenced" when the sale is cold or of
-- another epoch; what holds nothing changes nothing.

local sale = read_sale()
local cold = why_cold(sale)
if cold then return {cold} end
if sale.epoch ~= ARGV[3] then return {status_of(sale), 'fenced'} end

local left_before = remaining_of(sale)
local has_new_terms = take_terms(sale, 5)
local ids = ids_in(ARGV[4], 1)
local moves = 0

local function leave_line(hold, holder)
  local before, after = get(orders, hold.before), get(orders, hold.after)
  if hold.before ~= NOBODY and before then
    before.after = hold.after
    put(orders, hold.before, before)
  end
  if hold.after ~= NOBODY and after then
    after.before = hold.before
    put(orders, hold.after, after)
  else
    holder.latest = hold.before
  end
end

local function release(id)
  local units = get(withdrawals, id)
  if units then
    put(withdrawals, id, false)
    sale.held = sale.held - units
    sale.withdrawing = sale.withdrawing - units
    moves = moves + 1
    return
  end
  local hold = get(orders, id)
  if not hold then return end
  local holder = get(users, hold.user)
  if holder.units == hold.units then
    put(users, hold.user, false)
  else
    holder.units = holder.units - hold.units
    leave_line(hold, holder)
    put(users, hold.user, holder)
  end
  put(orders, id, false)
  sale.held = sale.held - hold.units
  sale.given_back = sale.given_back + hold.units
  moves = moves + 1
end

prefetch(orders, ids)
prefetch(withdrawals, ids)
for _, id in ipairs(ids) do release(id) end
if moves > 0 then
  flush(orders)
  flush(users)
  flush(withdrawals)
  settle(ids) -- nobody needs to append them any more
  sale.moves = sale.moves + moves
  redis.call('HSET', SALE, 'held', whole(sale.held), 'withdrawing', whole(sale.withdrawing),
             'given_back', whole(sale.given_back), 'moves', whole(sale.moves))
end
local status = status_of(sale)
local was_sold_out, is_sold_out = left_before <= 0, remaining_of(sale) <= 0
if has_new_terms then
  tell('terms', status)
elseif was_sold_out ~= is_sold_out then
  tell('stock', status)
end
return {status}
