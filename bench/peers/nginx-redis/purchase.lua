-- The shop's purchase handler: checks the request, asks Redis once, answers 202 or a refusal.
-- One instance per nginx worker; nothing here is shared between workers.
--
-- It speaks the Redis protocol itself: one send and one receive per purchase, both on a pooled
-- connection. That is less work per request than a general client library would do.
local ngx = ngx
local format = string.format

-- Idle connections a worker keeps to Redis: more than the client connections it is measured
-- with, so that no request of a measurement pays for a connect.
local kPoolSize = 1024
local kPoolIdleMs = 60000
local kUserIdBytesMax = 128
local kQuantityMax = 1000

local kJson = "application/json"
local kProblemJson = "application/problem+json"

-- What reserve.redis.lua answers below zero.
local kNoSuchSale, kSoldOut = -1, -2

local M = {}

local redis_host, redis_port
local script_source, sold_out_body
local script_hash -- SHA-1 of the script as hex, worked out on the worker's first request
local orders_made = 0

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- Runs once in the master, before the workers are forked.
function M.setup(options)
  redis_host = options.redis_host
  redis_port = options.redis_port
  script_source = read_file(options.script_path)
  sold_out_body = read_file(options.sold_out_path)
end

local function answer(status, content_type, body)
  local header = ngx.header
  ngx.status = status
  header["Content-Type"] = content_type
  header["Content-Length"] = #body
  ngx.print(body)
end

local function refuse(status, code, title)
  answer(status, kProblemJson, format(
    '{"type":"/problems/%s","title":"%s","status":%d,"code":"%s"}', code, title, status, code))
end

local function hash_of(script)
  return (ngx.sha1_bin(script):gsub(".", function(c) return format("%02x", c:byte()) end))
end

-- EVALSHA and EVAL take the same words: the script or its hash, three keys, three arguments.
local function command(verb, script, sale, user, quantity, order)
  local stock = "sale:{" .. sale .. "}:stock"
  local buyers = "sale:{" .. sale .. "}:buyers"
  local orders = "sale:{" .. sale .. "}:orders"
  return {
    "*9\r\n$", #verb, "\r\n", verb, "\r\n$", #script, "\r\n", script, "\r\n$1\r\n3\r\n$",
    #stock, "\r\n", stock, "\r\n$", #buyers, "\r\n", buyers, "\r\n$", #orders, "\r\n", orders,
    "\r\n$", #user, "\r\n", user, "\r\n$", #quantity, "\r\n", quantity,
    "\r\n$", #order, "\r\n", order, "\r\n",
  }
end

-- The script's integer, or nil and why not. A failed connection is closed, never pooled.
local function ask_redis(sale, user, quantity, order)
  local socket = ngx.socket.tcp()
  local ok, why = socket:connect(redis_host, redis_port)
  if not ok then
    return nil, "connect: " .. why
  end

  script_hash = script_hash or hash_of(script_source)
  local line
  ok, why = socket:send(command("EVALSHA", script_hash, sale, user, quantity, order))
  if ok then
    line, why = socket:receive("*l")
  end
  if line and line:sub(1, 9) == "-NOSCRIPT" then
    -- Redis was restarted: EVAL runs the script and keeps it for the next EVALSHA.
    line = nil
    ok, why = socket:send(command("EVAL", script_source, sale, user, quantity, order))
    if ok then
      line, why = socket:receive("*l")
    end
  end
  if not line then
    socket:close()
    return nil, why
  end

  socket:setkeepalive(kPoolIdleMs, kPoolSize)
  if line:byte(1) ~= 58 then -- ":" opens an integer
    return nil, line
  end
  return tonumber(line:sub(2))
end

-- Units asked for, as text; nil where the body is no purchase. The shop's page sends this one
-- shape, so a pattern reads it: no JSON library runs per request.
local function read_quantity()
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  if not body then
    return "1"
  end
  local quantity = body:match('^%s*{%s*"quantity"%s*:%s*(%d+)%s*}%s*$')
  local units = tonumber(quantity)
  if units and units >= 1 and units <= kQuantityMax then
    return quantity
  end
  return nil
end

local function new_order_id()
  orders_made = orders_made + 1
  return format("%012x-%06x-%08x", ngx.now() * 1000, ngx.worker.pid(), orders_made)
end

function M.handle()
  local var = ngx.var
  if var.request_method ~= "POST" then
    ngx.header["Allow"] = "POST"
    return refuse(405, "method_not_allowed", "Method not allowed")
  end
  if var.content_type ~= kJson then
    return refuse(415, "unsupported_media_type", "Unsupported media type")
  end

  -- These characters need no escaping in JSON.
  local user = var.http_x_user_id
  if not user or #user > kUserIdBytesMax or not user:find("^[%w._@-]+$") then
    return refuse(401, "unauthorized", "Unauthorized")
  end

  local quantity = read_quantity()
  if not quantity then
    return refuse(400, "invalid_request", "Invalid request")
  end

  local sale = var.sale
  local order_id = new_order_id()
  local order = '{"order_id":"' .. order_id .. '","sale_id":"' .. sale .. '","user_id":"' .. user
    .. '","quantity":' .. quantity .. ',"status":"queued","created_at":"'
    .. ngx.utctime():gsub(" ", "T") .. 'Z"}'

  local left, why = ask_redis(sale, user, quantity, order)
  if not left then
    ngx.log(ngx.ERR, "purchase of sale ", sale, ": redis: ", why)
    return refuse(503, "unavailable", "Unavailable")
  end
  if left >= 0 then
    ngx.header["Location"] = "/v1/orders/" .. order_id
    return answer(202, kJson, order)
  end
  if left == kSoldOut then
    return answer(409, kProblemJson, sold_out_body)
  end
  if left == kNoSuchSale then
    return refuse(404, "not_found", "Not found")
  end
  return refuse(409, "limit_reached", "Limit reached")
end

return M
