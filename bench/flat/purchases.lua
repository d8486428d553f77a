-- wrk script: purchases by many users on many sales. Arguments behind "--": how many sales
-- (flat-1, flat-2, …), how many users, and a text that keeps this run's users apart.
local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(arguments)
    sales = tonumber(arguments[1])
    users = tonumber(arguments[2])
    prefix = arguments[3] or ""
    -- Each thread walks through the users from a place of its own.
    count = number * math.floor(users / 2)
    wrk.method = "POST"
    wrk.body = '{"quantity":1}'
    wrk.headers["Content-Type"] = "application/json"
end

function request()
    count = count + 1
    wrk.headers["X-User-Id"] = "user-" .. prefix .. (count % users)
    return wrk.format(nil, "/v1/sales/flat-" .. (count % sales + 1) .. "/purchases")
end
