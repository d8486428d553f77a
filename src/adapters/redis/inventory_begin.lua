-- Marks that the rebuild of epoch ARGV[3] is under way: until it, or a later one, is installed, the
-- sale is cold.

local sale = read_sale()
local epoch = tonumber(ARGV[3])
local is_later = (sale.building and tonumber(sale.building) > epoch)
                 or (sale.epoch and tonumber(sale.epoch) > epoch)
if is_later then return {'fenced'} end
local cold = why_cold(sale)
if not cold and sale.epoch == ARGV[3] then return {'ok'} end -- this came late: it is installed
redis.call('HSET', SALE, 'building', ARGV[3], 'building_since', whole(now_ms()))
tell('cold', 'cold building ' .. ARGV[3])
return {'ok'}
