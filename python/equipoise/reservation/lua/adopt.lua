-- Hold for an order that the venue has and the book has not; a fact, so never refused for margin.
-- KEYS 13 record of the order   14 record of an order of the venue id's name, if any
-- ARGV 10 side   11 lots   12 ticks   13 hold   14 1: reduce only   15 leg   16 symbol   17 venue id or empty
--      18 order type   19 owner   20 scale of the hold

local other = not away and other_scale(ARGV[20])
if other then
    return other
end
local known, ended = find_order()
if ended then
    return ended
elseif not A then
    return answer('ACCOUNT_NOT_FOUND')
elseif known then
    return answer('ORDER_EXISTS', { order = known.id, state = known.state })
end
local id, leg, symbol, venue, owner = ARGV[7], ARGV[15], ARGV[16], ARGV[17], ARGV[19]
if (A.positions == 'hedge') ~= (leg ~= '') then
    return answer('TERMS_INVALID')
end
check_indexes()
local kind = call('TYPE', KEYS[RECORD]).ok
if kind ~= 'none' then
    corrupt('order ' .. id)
end
local lots, hold, bid, only = tonumber(ARGV[11]), tonumber(ARGV[13]), ARGV[10] == 'bid', ARGV[14] == '1'
local was, row = load_row(symbol, leg)
local reduces = only or (A.positions == 'hedge' and (leg == 'long') ~= bid)
if reduces and (bid and row[REDUCE_BID] or row[REDUCE_ASK]) + lots <= (bid and 0 - row[LOTS] or row[LOTS]) then
    hold = 0
end
local o = {
    key = KEYS[RECORD], id = id, symbol = symbol, leg = leg, bid = bid, lots = lots, hold_start = hold,
    reduces = reduces, owner = owner, market = ARGV[18] == 'market', state = 'LIVE', hold = hold, filled = 0,
    released = 0, working = lots, over = 0, open = 0, margin = 0, given = 0, flags = 'adopted', reason = '',
    venue = venue ~= '' and venue or nil, seq = (A.version + 1) * 1000, price_ticks = tonumber(ARGV[12]),
    amend_lots = 0, amend_hold = 0, amend_price_ticks = 0,
}
less_resting(row, o, 0 - hold, 0 - lots)
if A.combine == 'larger_leg' and is_counted(o) then
    local rate = divide_up(hold, lots)
    rate_more(rate_member('orders', symbol, rate, id))
    row[RATE_ORDERS] = rate_top('orders', symbol, rate)
end
put_row(symbol, leg, was, row)
journal_order(nil, o)
D.live, D.added = D.live + 1, 1
-- An order that has ended keeps its venue id: fills that are booked are known by it.
local alias = venue ~= '' and venue ~= id and not known_as(venue) and venue or nil
local reply, written = finish('OK', id, 'LIVE', '"adopted"')
if written then
    call(
        'HSET', o.key, 'symbol', symbol, 'side', ARGV[10], 'request_id', ident, 'created_us', now_text, 'deadline_us',
        now_text, 'seq', text(o.seq)
    )
    for i, name in pairs({ [15] = 'leg', [19] = 'owner' }) do
        if ARGV[i] ~= '' then
            call('HSET', o.key, name, ARGV[i])
        end
    end
    if o.market then
        call('HSET', o.key, 'order_type', 'market')
    end
    if reduces then
        call('HSET', o.key, 'reduces', '1', 'reduce_only', only and '1' or '0')
    end
    put_order(nil, o, true)
    if alias then
        put_alias(alias, o)
    end
end
return reply
