-- How the sale stands: units given back, units on their way out, holds that are pending.

local sale = read_sale()
local cold = why_cold(sale)
if cold then return {cold} end
return {status_of(sale), whole(sale.given_back), whole(sale.withdrawing),
        whole(redis.call('ZCARD', PENDING))}
