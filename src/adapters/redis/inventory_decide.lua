-- Decides a batch of attempts, one after the other, as domain/stock.cc does, and writes down what
-- they hold. ARGV[3] is how many holds may be pending; then one argument an attempt, its first
-- character says what it is:
--
--   p user record          a purchase without a key      k user key record    one with a key
--   f key quantity         only: is the key bound?       w record             a withdrawal
--   s order order ...      these were seen in the log: no answer
--
-- A record is a log record's bytes (domain/log_record.h), complete but for the epoch. The answers
-- stand behind the status line, in the attempts' order:
--
--   Y  held, append its record      S  held and seen in the log     -  the key is free
--   P record / R order  the key is bound, pending / seen            M  ... with another quantity
--   C closed    N milliseconds  not started    H paused             0  nothing left
--   L record / l order  the limit is reached, the user's latest order pending / seen
--   F remaining  fewer left than asked                              O  too much is pending
--
-- Whoever asks again with the same order gets the same Y.

local sale = read_sale()
local cold = why_cold(sale)
if cold then return {cold} end

local pending_max = tonumber(ARGV[3])
local left = remaining_of(sale)
local left_before = left
local now = now_ms()
local pending_count -- read once those are off it that were seen

local sub, byte = string.sub, string.byte

local function units_in(record)
  local a, b, c, d = byte(record, 34, 37)
  return a + 256 * (b + 256 * (c + 256 * d))
end
local function id_in(record) return sub(record, 14, 33) end

local epoch_bytes -- as a record has it: 8 bytes, the lowest first
local function with_epoch(record)
  if not epoch_bytes then
    local rest, bytes = tonumber(sale.epoch), {}
    for i = 1, 8 do
      bytes[i] = string.char(rest % 256)
      rest = math.floor(rest / 256)
    end
    epoch_bytes = table.concat(bytes)
  end
  return sub(record, 1, 5) .. epoch_bytes .. sub(record, 14)
end

-- Reads at once what the attempts will need.
local function prepare()
  local orders_wanted, users_wanted, keys_wanted = {}, {}, {}
  for i = 4, #ARGV do
    local attempt = ARGV[i]
    local kind = sub(attempt, 1, 1)
    if kind == 'p' then
      orders_wanted[#orders_wanted + 1] = sub(attempt, 31, 50) -- 1 + 16 + 13 bytes before it
      users_wanted[#users_wanted + 1] = sub(attempt, 2, 17)
    elseif kind == 'k' then
      orders_wanted[#orders_wanted + 1] = sub(attempt, 47, 66)
      users_wanted[#users_wanted + 1] = sub(attempt, 2, 17)
      keys_wanted[#keys_wanted + 1] = sub(attempt, 18, 33)
    elseif kind == 'f' then
      keys_wanted[#keys_wanted + 1] = sub(attempt, 2, 17)
    elseif kind == 's' then
      settle(ids_in(attempt, 2))
    end
  end
  prefetch(orders, orders_wanted)
  prefetch(bound_keys, keys_wanted)
  if left > 0 then prefetch(users, users_wanted) end -- else nobody looks at them
end

local taken = {} -- orders and withdrawals that are pending from now on

local function add_pending(order, record)
  put(records, order, with_epoch(record))
  taken[#taken + 1] = order
  pending_count = pending_count + 1
end

local function held_answer(order) return get(records, order) and 'Y' or 'S' end

-- Nil when the key is not bound.
local function bound_answer(key, quantity)
  local bound = get(bound_keys, key)
  if not bound then return nil end
  if bound.quantity ~= quantity then return 'M' end
  local record = get(records, bound.order)
  return record and 'P' .. record or 'R' .. bound.order
end

-- The sale's state: nil when it is open.
local function state_answer()
  if sale.closed == 1 or (sale.ends_at and now >= sale.ends_at) then return 'C' end
  if now < sale.starts_at then return 'N' .. whole(sale.starts_at - now) end
  if sale.paused == 1 then return 'H' end
  return nil
end
local state = state_answer()

local function take(order, user, key, quantity, record)
  local holder = get(users, user)
  local before = NOBODY
  if holder then
    before = holder.latest
    local hold_before = get(orders, before)
    if hold_before then
      hold_before.after = order
      put(orders, before, hold_before)
    else
      before = NOBODY
    end
  end
  put(orders, order, {user = user, before = before, after = NOBODY, units = quantity})
  put(users, user, {latest = order, units = (holder and holder.units or 0) + quantity})
  if key then put(bound_keys, key, {order = order, quantity = quantity}) end
  add_pending(order, record)
  left = left - quantity
end

local function purchase(user, key, record)
  local order, quantity = id_in(record), units_in(record)
  if get(orders, order) then return held_answer(order) end
  local bound = key and bound_answer(key, quantity)
  if bound then return bound end
  if state then return state end
  if left <= 0 then return '0' end
  if pending_count >= pending_max then return 'O' end
  local holder = get(users, user)
  if (holder and holder.units or 0) + quantity > sale.per_user_limit then
    if not holder then return 'l' end
    local latest = get(records, holder.latest)
    return latest and 'L' .. latest or 'l' .. holder.latest
  end
  if quantity > left then return 'F' .. whole(left) end
  take(order, user, key, quantity, record)
  return 'Y'
end

local function withdraw(record)
  local id, units = id_in(record), units_in(record)
  if get(withdrawals, id) then return held_answer(id) end
  if units > left then return 'F' .. whole(math.max(left, 0)) end
  if pending_count >= pending_max then return 'O' end
  put(withdrawals, id, units)
  add_pending(id, record)
  left = left - units
  sale.withdrawing = sale.withdrawing + units
  return 'Y'
end

local function answer_to(attempt)
  local kind = sub(attempt, 1, 1)
  if kind == 'p' then return purchase(sub(attempt, 2, 17), nil, sub(attempt, 18)) end
  if kind == 'k' then
    return purchase(sub(attempt, 2, 17), sub(attempt, 18, 33), sub(attempt, 34))
  end
  if kind == 'f' then
    return bound_answer(sub(attempt, 2, 17), tonumber(sub(attempt, 18))) or '-'
  end
  if kind == 'w' then return withdraw(sub(attempt, 2)) end
  return nil
end

local function write()
  flush(orders)
  flush(users)
  flush(bound_keys)
  flush(withdrawals)
  flush(records)
  local marks, score = {}, whole(now)
  for i, order in ipairs(taken) do
    marks[2 * i - 1] = score
    marks[2 * i] = order
  end
  call_in_chunks('ZADD', PENDING, marks)
  sale.held = sale.held + left_before - left
  sale.moves = sale.moves + #taken
  redis.call('HSET', SALE, 'held', whole(sale.held), 'withdrawing', whole(sale.withdrawing),
             'moves', whole(sale.moves))
end

prepare()
pending_count = redis.call('ZCARD', PENDING)
local answers = {''}
for i = 4, #ARGV do
  local answer = answer_to(ARGV[i])
  if answer then answers[#answers + 1] = answer end
end
if #taken > 0 then write() end
local status = status_of(sale)
if left_before > 0 and left <= 0 then tell('stock', status) end
answers[1] = status
return answers
