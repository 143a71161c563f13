-- Take an account over from a flat layout, with its orders and positions as they are; rule sum, tickets.
-- KEYS 13, 14, … records of the orders
-- ARGV 9 currency   10 scale   11 balance   12 terms: "combine positions pnl_policy"   13 how many faults
--      14 horizon_us   15, 16, … one order each: side, lots, state, hold, margin, symbol, order id, parted by \31

local refused = away or gate() or (A and answer('ACCOUNT_EXISTS'))
if refused then
    return refused
end
for i = RECORD, #KEYS do
    if call('EXISTS', KEYS[i]) > 0 then
        corrupt('a record is there already: ' .. KEYS[i])
    end
end
check_indexes()
call('HLEN', SYMBOLS)
open_blank(ARGV[12], ARGV[9], ARGV[10], ARGV[11], ARGV[14])
local orders, rows = {}, {}
for i = 15, #ARGV do
    local side, lots, state, hold, margin, symbol, id =
        match(ARGV[i], '^(%l+)\31(%d+)\31(%u+)\31(%d+)\31(%d+)\31([^\31]*)\31(.*)$')
    local row = rows[symbol]
    if not row then
        row = row_after(nil)
        rows[symbol] = row
        put_row(symbol, '', nil, row)
    end
    local bid, live = side == 'bid', not TERMINAL[state]
    local filled = state == 'FILLED' or state == 'CLOSED'
    lots, hold, margin = tonumber(lots), tonumber(hold), tonumber(margin)
    local o = {
        key = KEYS[RECORD + i - 15], id = id, symbol = symbol, leg = '', bid = bid, lots = lots, hold_start = hold,
        reduces = false, owner = '', market = false, deadline = now_text, state = state, hold = hold,
        filled = filled and lots or 0, working = live and lots or 0, released = (live or filled) and 0 or lots, over = 0,
        open = state == 'FILLED' and lots or 0, margin = margin, given = 0, flags = 'imported', reason = '',
        seq = 1000 + i - 15, price_ticks = 1, amend_lots = 0, amend_hold = 0, amend_price_ticks = 0,
    }
    local signed = bid and o.open or 0 - o.open
    local hold_at, lots_at, side_at = HOLD_BIDS, BID_LOTS, LONG
    if not bid then
        hold_at, lots_at, side_at = HOLD_ASKS, ASK_LOTS, SHORT
    end
    row[LOTS], row[MARGIN] = row[LOTS] + signed, row[MARGIN] + margin
    row[hold_at], row[lots_at] = row[hold_at] + hold, row[lots_at] + o.working
    row[side_at] = row[side_at] + o.open
    D.live = D.live + (live and 1 or 0)
    journal_order(nil, o)
    orders[#orders + 1] = o
end
D.added = #orders
detail('currency', quoted(ARGV[9]))
detail('scale', ARGV[10])
detail('faults', ARGV[13])
local reply, written = finish('OK')
if written then
    for _, o in ipairs(orders) do
        call(
            'HSET', o.key, 'symbol', o.symbol, 'side', o.bid and 'bid' or 'ask', 'request_id', ident, 'created_us',
            now_text, 'deadline_us', now_text, 'seq', text(o.seq)
        )
        put_order(nil, o)
    end
    remember_request('1')
end
return reply
