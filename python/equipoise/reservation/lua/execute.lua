-- Local flow: take the margin and open the position in one step, if it is free.
-- KEYS 13 record of the new order
-- ARGV 9 side   10 lots   11 ticks   12 margin   13 1: reduce only   14 leg   15 symbol   16 order id
--      17 1: the margin is micro-units   18 realised_pnl or empty   19 fee   20 terms version or empty   21 owner
--      22 order type   23 scale of the amounts

-- a - b as text, exact although it may be beyond what a double holds. Both are within 2^53, so 1e9 parts it safely.
local difference
function difference(a, b)
    if a < b then
        return '-' .. difference(b, a)
    elseif a - b <= MOST then
        return text(a - b)
    end
    local rest = fmod(a, 1e9) - fmod(b, 1e9)
    local billions = (a - fmod(a, 1e9)) / 1e9 - (b - fmod(b, 1e9)) / 1e9
    while rest < 0 do
        billions, rest = billions - 1, rest + 1e9
    end
    while rest >= 1e9 do
        billions, rest = billions + 1, rest - 1e9
    end
    return text(billions) .. format('%09.0f', rest)
end

local refusal = away or other_scale(ARGV[23]) or gate() or growth_gate()
if refusal then
    return refusal
end
local id, symbol, leg, limits = ARGV[16], ARGV[15], ARGV[14], A.limits
local lots, ask_margin, reduce = tonumber(ARGV[10]), tonumber(ARGV[12]), ARGV[13] == '1'
local found = call('TYPE', KEYS[RECORD]).ok
if found ~= 'none' and found ~= 'hash' then
    corrupt('order ' .. id)
end
if found == 'hash' or call('HGET', ALIASES, id) then
    return answer('ORDER_EXISTS')
end
if ARGV[20] ~= '' and ARGV[20] ~= A.said[TERMS_VERSION] then
    return answer('TERMS_CHANGED')
end
if (ARGV[17] == '1' and A.said[SCALE] ~= '6') or (A.positions == 'hedge') ~= (leg ~= '')
    or (reduce and A.positions == 'tickets') then
    return answer('TERMS_INVALID')
end
check_indexes()
local was, row = load_row(symbol, leg)
local o = {
    key = KEYS[RECORD], id = id, symbol = symbol, leg = leg, bid = ARGV[9] == 'bid', lots = lots, reduces = reduce,
    market = ARGV[22] == 'market', state = 'FILLED', hold = 0, filled = lots, released = 0, working = 0, over = 0,
    open = 0, margin = 0, given = 0, reason = '', seq = (A.version + 1) * 1000, hold_start = 0, amend_lots = 0,
    amend_hold = 0, amend_price_ticks = 0, price_ticks = tonumber(ARGV[11]),
}
local pnl = ARGV[18] ~= '' and tonumber(ARGV[18]) or nil
local opened, margin, flags, missing = trade(row, o, lots, ask_margin, pnl, tonumber(ARGV[19]))
-- In the order that the step found them, as the other stores keep it.
o.flags = concat(flags, ' ')
put_row(symbol, leg, was, row)
journal_order(nil, o)
local executed, all, counted, free, good = next_totals()
if not good then
    return answer('AMOUNT_OVERFLOW')
end
local rise = all - A.all
-- What only reduces asks for nothing that these limit.
if limits and (opened > 0 or rise > 0) and stale() then
    return answer('STALE_MARK')
end
local most = limits and limits.position_lots_max and limits.position_lots_max[symbol]
if most and opened > 0 and reach(row, o.bid) > most then
    return answer('POSITION_LIMIT')
end
if limits and ((limits.order_margin_max and margin > limits.order_margin_max)
    or (limits.margin_max and rise > 0 and all > limits.margin_max)
    or (limits.records_max and A.records + 2 > limits.records_max)) then
    return answer('ORDER_LIMIT')
end
local owner_most = limits and limits.owner_margin_max and limits.owner_margin_max[ARGV[21]]
if owner_most and margin > 0 and figure(call('HGET', OWNERS, ARGV[21]), 'owner') + margin > owner_most then
    return answer('OWNER_LIMIT')
end
local free_before = sum(A.balance, A.counted, 0 - A.all)
if rise > 0 and free < 0 then
    return answer('INSUFFICIENT_MARGIN', { required = difference(free_before, free), free = free_before })
end
D.added = 1
if missing then
    D.more = { 'pnl_missing', text(more_of('pnl_missing') + 1) }
end
local reply, written = finish('OK', id, 'FILLED', flags_json(flags))
if not written then
    return reply
end
local more = {}
if leg ~= '' then
    more[#more + 1] = 'leg'
    more[#more + 1] = leg
end
if ARGV[21] ~= '' then
    more[#more + 1] = 'owner'
    more[#more + 1] = ARGV[21]
end
if o.market then
    more[#more + 1] = 'order_type'
    more[#more + 1] = 'market'
end
if reduce then
    more[#more + 1] = 'reduces'
    more[#more + 1] = '1'
    more[#more + 1] = 'reduce_only'
    more[#more + 1] = '1'
end
put_order(
    nil, o, false, 'symbol', symbol, 'side', ARGV[9], 'request_id', ident, 'created_us', now_text, 'deadline_us', now_text,
    'seq', text(o.seq), unpack(more)
)
remember_request(step_version())
return reply
