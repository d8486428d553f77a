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
local function identity()
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  return run_id, replid
end

-- Nil when the sale may be believed.
local function why_cold(sale)
  if sale.building then return 'cold building ' .. sale.building end
  if not sale.epoch then return 'cold missing 0' end
  local run_id, replid = identity()
  if sale.run_id ~= run_id then return 'cold restarted ' .. sale.epoch end
  if sale.replid ~= replid then return 'cold failed_over ' .. sale.epoch end
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

-- A hash in part: what was read and what changed, written back by flush(). `false`: not there.
local function table_of(key, parse, format)
  local self = {values = {}, changed = {}}
  function self.prefetch(fields)
    for first = 1, #fields, CHUNK do
      local last = math.min(first + CHUNK - 1, #fields)
      local found = redis.call('HMGET', key, unpack(fields, first, last))
      for i = first, last do
        local value = found[i - first + 1]
        self.values[fields[i]] = value and parse(value) or false
      end
    end
  end
  function self.get(field)
    local value = self.values[field]
    if value == nil then
      value = redis.call('HGET', key, field)
      value = value and parse(value) or false
      self.values[field] = value
    end
    return value
  end
  function self.put(field, value)
    self.values[field] = value
    self.changed[field] = true
  end
  function self.flush()
    local set, gone = {}, {}
    for field in pairs(self.changed) do
      local value = self.values[field]
      if value then
        set[#set + 1] = field
        set[#set + 1] = format(value)
      else
        gone[#gone + 1] = field
      end
    end
    for first = 1, #set, CHUNK do
      redis.call('HSET', key, unpack(set, first, math.min(first + CHUNK - 1, #set)))
    end
    for first = 1, #gone, CHUNK do
      redis.call('HDEL', key, unpack(gone, first, math.min(first + CHUNK - 1, #gone)))
    end
  end
  return self
end

local users = table_of(USERS,
  function(text)
    return {latest = string.sub(text, 1, 20), units = tonumber(string.sub(text, 21))}
  end,
  function(holder) return holder.latest .. whole(holder.units) end)

local SHORT = 16 + 7 -- a hold without neighbours: a quantity has seven digits at most

local orders = table_of(ORDERS,
  function(text)
    local user = string.sub(text, 1, 16)
    if #text <= SHORT then
      return {user = user, before = NOBODY, after = NOBODY, units = tonumber(string.sub(text, 17))}
    end
    return {user = user, before = string.sub(text, 17, 36), after = string.sub(text, 37, 56),
            units = tonumber(string.sub(text, 57))}
  end,
  function(hold)
    if hold.before == NOBODY and hold.after == NOBODY then return hold.user .. whole(hold.units) end
    return hold.user .. hold.before .. hold.after .. whole(hold.units)
  end)

local bound_keys = table_of(BOUND,
  function(text)
    return {order = string.sub(text, 1, 20), quantity = tonumber(string.sub(text, 21))}
  end,
  function(bound) return bound.order .. whole(bound.quantity) end)

local function same(value) return value end
local withdrawals = table_of(WITHDRAWALS, tonumber, whole)
local records = table_of(RECORDS, same, same)

-- These orders and withdrawals are not pending (any more).
local function settle(ids)
  for first = 1, #ids, CHUNK do
    local last = math.min(first + CHUNK - 1, #ids)
    redis.call('ZREM', PENDING, unpack(ids, first, last))
    redis.call('HDEL', RECORDS, unpack(ids, first, last))
  end
end

-- The order ids in a text of nothing else.
local function ids_in(text, first)
  local ids = {}
  for at = first, #text, 20 do ids[#ids + 1] = string.sub(text, at, at + 19) end
  return ids
end
