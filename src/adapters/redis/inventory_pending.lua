-- The records of at most ARGV[4] holds that have been pending for longer than ARGV[3]
-- milliseconds, the oldest first.

local sale = read_sale()
local cold = why_cold(sale)
if cold then return {cold} end
local answers = {status_of(sale)}
local ids = redis.call('ZRANGEBYSCORE', PENDING, '-inf', '(' .. whole(now_ms() - tonumber(ARGV[3])),
                       'LIMIT', '0', ARGV[4])
prefetch(records, ids)
for _, id in ipairs(ids) do
  local record = get(records, id)
  if record then answers[#answers + 1] = record end
end
return answers
