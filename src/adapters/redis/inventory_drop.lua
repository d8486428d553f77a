-- Throws a staged image away that was not installed: KEYS[8] to KEYS[10].

redis.call('UNLINK', KEYS[8], KEYS[9], KEYS[10])
return {'ok'}
