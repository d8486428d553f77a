-- What the inventory's scripts share; it stands in front of each of them (inventory_scripts.cc).
--
-- The first seven keys are always one sale's, in one hash slot; the first two arguments the channel
-- for messages and the sale's number. Binary values are bytes as they are, numbers are decimal:
--
--   sale         what deciding needs, see FIELDS; `building` while a rebuild is under way
--   users        user (16 bytes) -> latest order (20) units
--   orders       order (20) -> user (16) [order before (20) order after (20)] units
--                the neighbours are the same user's orders; an order alone has none written down
--   keys         key (16) -> order (20) quantity
--   pending      order by the time of its hold: holds and withdrawals not yet seen in the log
--   records      order -> the bytes of its log record, as long as it is pending
--   withdrawals  withdrawal (20) -> units
--
-- Every answer begins with a status line: "ok EPOCH MOVES VERSION REMAINING", or "cold REASON
-- EPOCH". A sale is cold until a rebuild was installed in this very life of this very server: then
-- nothing that stands here is believed (design.md section 4, rule 7).

local SALE, USERS, ORDERS, BOUND = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local PENDING, RECORDS, WITHDRAWALS = KEYS[5], KEYS[6], KEYS[7]
local CHANNEL, NUMBER = ARGV[1], ARGV[2]

local NOBODY = string.rep('\0', 20) -- in place of an order
local CHUNK = 2000 -- arguments of one command: what unpack can take is bounded

local FIELDS = {'building', 'epoch', 'run_id', 'replid', 'id', 'version', 'stock', 'per_user_limit',
                'starts_at', 'ends_at', 'paused', 'closed', 'held', 'withdrawing', 'given_back',
                'moves'}
local IS_TEXT = {building = true, epoch = true, run_id = true, replid = true, id = true}

local function whole(number) return string.format('%.0f', number) end

local function read_sale()
  local values = redis.call('HMGET', SALE, unpack(FIELDS))
  local sale = {}
  for i, name in ipairs(FIELDS) do
    local value = values[i]
    if value and value ~= '' then sale[name] = IS_TEXT[name] and value or tonumber(value) end
  end
  return sale
end

-- The life of this server: another after a restart, or when a replica has taken over.
local RUN_ID, REPLID = 'run_id:', 'master_replid:'
local function identity()
  local run_id = string.match(redis.call('INFO', 'server'), RUN_ID .. '(%x+)')
  local replid = string.match(redis.call('INFO', 'replication'), REPLID .. '(%x+)')
  return run_id, replid
end

-- Nil when the sale may be believed.
local function why_cold(sale)
  if sale.building then return 'cold building ' .. sale.building end
  if not sale.epoch then return 'cold missing 0' end
  if not string.find(redis.call('INFO', 'server'), RUN_ID .. sale.run_id, 1, true) then
    return 'cold restarted ' .. sale.epoch
  end
  if not string.find(redis.call('INFO', 'replication'), REPLID .. sale.replid, 1, true) then
    return 'cold failed_over ' .. sale.epoch
  end
  return nil
end

local function remaining_of(sale) return sale.stock - sale.held end

local function status_of(sale)
  return table.concat({'ok', sale.epoch, whole(sale.moves), whole(sale.version),
                       whole(remaining_of(sale))}, ' ')
end

-- A word about the sale to every node: what changed, and how it stands.
local function tell(what, status)
  redis.call('PUBLISH', CHANNEL, NUMBER .. ' ' .. what .. ' ' .. status)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Terms in the arguments from `first` on, in this order.
local TERMS = {'version', 'stock', 'per_user_limit', 'starts_at', 'ends_at', 'paused', 'closed',
               'partition', 'id'}
local function write_terms(sale, first)
  local pairs_of = {}
  for i, name in ipairs(TERMS) do
    local value = ARGV[first + i - 1]
    pairs_of[#pairs_of + 1] = name
    pairs_of[#pairs_of + 1] = value
    if value == '' then
      sale[name] = nil
    else
      sale[name] = IS_TEXT[name] and value or tonumber(value)
    end
  end
  redis.call('HSET', SALE, unpack(pairs_of))
end

-- Newer terms replace older ones.
local function take_terms(sale, first)
  if tonumber(ARGV[first]) <= sale.version then return false end
  write_terms(sale, first)
  return true
end

-- A hash in part: what was read and what changed, written back by flush(). A value that is `false`
-- is not there. `parse` and `format` turn a field's text into its value and back.
local function table_of(key, parse, format)
  return {key = key, parse = parse, format = format, values = {}, changed = {}}
end

local function prefetch(hash, fields)
  local values, parse = hash.values, hash.parse
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local found = redis.call('HMGET', hash.key, unpack(fields, first, last))
    for i = first, last do
      local text = found[i - first + 1]
      values[fields[i]] = text and parse(text) or false
    end
  end
end

local function get(hash, field)
  local value = hash.values[field]
  if value == nil then
    local text = redis.call('HGET', hash.key, field)
    value = text and hash.parse(text) or false
    hash.values[field] = value
  end
  return value
end

local function put(hash, field, value)
  hash.values[field] = value
  hash.changed[field] = true
end

local function call_in_chunks(command, key, arguments)
  for first = 1, #arguments, CHUNK do
    redis.call(command, key,
               unpack(arguments, first, math.min(first + CHUNK - 1, #arguments)))
  end
end

local function flush(hash)
  local set, gone, format = {}, {}, hash.format
  for field in pairs(hash.changed) do
    local value = hash.values[field]
    if value then
      set[#set + 1] = field
      set[#set + 1] = format(value)
    else
      gone[#gone + 1] = field
    end
  end
  call_in_chunks('HSET', hash.key, set)
  call_in_chunks('HDEL', hash.key, gone)
end

local function parse_holder(text)
  return {latest = string.sub(text, 1, 20), units = tonumber(string.sub(text, 21))}
end
local function format_holder(holder) return holder.latest .. whole(holder.units) end

local SHORT = 16 + 7 -- a hold without neighbours: a quantity has seven digits at most
local function parse_hold(text)
  local user = string.sub(text, 1, 16)
  if #text <= SHORT then
    return {user = user, before = NOBODY, after = NOBODY, units = tonumber(string.sub(text, 17))}
  end
  return {user = user, before = string.sub(text, 17, 36), after = string.sub(text, 37, 56),
          units = tonumber(string.sub(text, 57))}
end
local function format_hold(hold)
  if hold.before == NOBODY and hold.after == NOBODY then return hold.user .. whole(hold.units) end
  return hold.user .. hold.before .. hold.after .. whole(hold.units)
end

local function parse_bound(text)
  return {order = string.sub(text, 1, 20), quantity = tonumber(string.sub(text, 21))}
end
local function format_bound(bound) return bound.order .. whole(bound.quantity) end
local function same(value) return value end

local users = table_of(USERS, parse_holder, format_holder)
local orders = table_of(ORDERS, parse_hold, format_hold)
local bound_keys = table_of(BOUND, parse_bound, format_bound)
local withdrawals = table_of(WITHDRAWALS, tonumber, whole)
local records = table_of(RECORDS, same, same)

-- These orders and withdrawals are not pending (any more).
local function settle(ids)
  call_in_chunks('ZREM', PENDING, ids)
  call_in_chunks('HDEL', RECORDS, ids)
end

-- The order ids in a text of nothing else.
local function ids_in(text, first)
  local ids = {}
  for at = first, #text, 20 do ids[#ids + 1] = string.sub(text, at, at + 19) end
  return ids
end
