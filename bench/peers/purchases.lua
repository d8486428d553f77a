-- wrk's half of the measurement: sends purchases and counts every answer's status. The same
-- script, with the same arguments, drives every peer.
--
--   wrk ... URL/v1/sales/SALE/purchases -- USER_TAG distinct|constant
--
-- distinct: each request carries a user id that no other request of any thread or round has.
-- constant: all carry one id, and the request is built once; what remains of the client's cost
--           is wrk itself, which shows how much the ids cost the figures.
-- done() prints one line "peers-result {JSON}" for driver.py.

local kBody = '{"quantity":1}'
-- Ids start here so that all have the same length, hence all requests have.
local kFirstNumber = 10000000

-- In wrk's main state only: setup() runs there, once a thread, and done() at the end.
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("thread_number", #threads)
end

local before_user, after_user
local number = kFirstNumber

local function next_request()
  number = number + 1
  return before_user .. number .. after_user
end

function init(args)
  local tag, users = args[1], args[2]
  local user = string.format("%s-t%02d-", tag, thread_number)
  before_user = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
    .. "\r\nContent-Type: application/json\r\nContent-Length: " .. #kBody
    .. "\r\nX-User-Id: " .. user
  after_user = "\r\n\r\n" .. kBody
  if users == "distinct" then
    request = next_request
  else
    -- Without a global request(), wrk builds one request from these and repeats it.
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["X-User-Id"] = user .. kFirstNumber
    wrk.body = kBody
  end
end

-- Statuses as numbers to how often they came; read from the main state at the end.
counts = {}

function response(status)
  counts[status] = (counts[status] or 0) + 1
end

function done(summary, latency)
  local total = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("counts")) do
      total[status] = (total[status] or 0) + count
    end
  end
  local statuses = {}
  for status, count in pairs(total) do
    statuses[#statuses + 1] = string.format('"%d":%d', status, count)
  end
  local errors = summary.errors
  io.write(string.format(
    'peers-result {"statuses":{%s},"seconds":%.6f,"requests":%d,"bytes":%d,'
    .. '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d},'
    .. '"latency_ms":{"p50":%.3f,"p90":%.3f,"p99":%.3f,"max":%.3f}}\n',
    table.concat(statuses, ","), summary.duration / 1e6, summary.requests, summary.bytes,
    errors.connect, errors.read, errors.write, errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3))
end
