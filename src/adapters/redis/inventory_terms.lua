-- Takes the sale's terms, in the arguments from ARGV[3] on, if they are newer. A sale that is being
-- rebuilt takes them, too: the rebuild keeps the newest.

local sale = read_sale()
if not sale.version then return {'cold missing 0'} end
local has_new_terms = take_terms(sale, 3)
local cold = why_cold(sale)
if cold then return {cold} end
local status = status_of(sale)
if has_new_terms then tell('terms', status) end
return {status}
