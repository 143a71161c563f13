-- Everything of an account but its orders and its journal, at one version; reads only.
-- KEYS as in prelude.lua

return {
    redis.call('HGETALL', KEYS[1]),
    redis.call('HGETALL', KEYS[2]),
    redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'),
    redis.call('HGETALL', KEYS[5]),
    redis.call('HGETALL', KEYS[8]),
    redis.call('ZRANGEBYLEX', KEYS[9], '-', '+'),
    redis.call('XRANGE', KEYS[10], '-', '+'),
    redis.call('HGETALL', KEYS[11]),
    redis.call('HGETALL', KEYS[12]),
    redis.call('HLEN', KEYS[6]),
}
