-- Delete settled orders older than the horizon; the watermark moves forward only. Ids follow by forget.lua.
-- KEYS 10, 11, … records of orders that may go. ARGV 7 horizon_us   8, 9, … their ids

local moved = away()
if moved then
    return moved
end
if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
local watermark = now - tonumber(ARGV[7])
if watermark <= A.watermark then
    return answer('OK')
end
check_indexes()
call('HLEN', ALIASES)
-- The ids go by a call of their own afterwards.
call('HLEN', REQUESTS)
local gone = {}
for i = 8, #ARGV do
    local o = load_order(KEYS[i + 2], ARGV[i], '')
    local at = o and tonumber(call('HGET', o.key, 'changed_us') or call('HGET', o.key, 'created_us'))
    if o and terminal(o) and o.open == 0 and at <= watermark then
        gone[#gone + 1] = o
    end
end
if call('ZCOUNT', DUE, text(0 - watermark), '(0') ~= #gone then
    return 'K'
end
table.sort(gone, function(a, b) return a.seq < b.seq end)
detail('watermark_us', text(watermark))
detail('orders', text(#gone))
local aliases = {}
for i, o in ipairs(gone) do
    D.orders[i] = '[' .. quoted(o.id) .. ',' .. snapshot(o) .. ',null]'
    for _, field in ipairs(call('HKEYS', o.key)) do
        if sub(field, 1, 2) == 'a:' then
            aliases[#aliases + 1] = sub(field, 3)
        end
    end
end
D.more = { 'watermark_us', text(watermark) }
local reply, written = finish('OK')
if written then
    for _, o in ipairs(gone) do
        call('UNLINK', o.key)
        call('ZREM', ORDERS, o.id)
        call('ZREM', DUE, o.id)
    end
    for _, alias in ipairs(aliases) do
        call('HDEL', ALIASES, alias)
    end
end
return reply
