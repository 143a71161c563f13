-- Everything of an account but its journal, at one version; of its orders those that are named. Reads only.
-- KEYS as in prelude.lua, then the records of the orders

local found = {
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
    redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES'),
}
for place = 13, #KEYS do
    found[#found + 1] = redis.call('HGETALL', KEYS[place])
end
return found
