-- A part of a rebuild's image, beside the sale: KEYS[8] gets the fields and values from ARGV[5] on,
-- as long as the rebuild of epoch ARGV[3] has not been overtaken. What nobody installs is gone
-- after ARGV[4] milliseconds.

if redis.call('HGET', SALE, 'building') ~= ARGV[3] then return {'overtaken'} end
redis.call('HSET', KEYS[8], unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[8], ARGV[4])
return {'ok'}
