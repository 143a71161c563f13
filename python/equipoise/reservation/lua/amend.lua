-- Hold for the larger of the old and the new order until the venue has answered.
-- KEYS 14 record of an order of the client id's name, if any
-- ARGV 10 lots   11 hold   12 price_ticks or empty   13 client id or empty   14 terms version or empty
--      15 deadline_us   16 not_after_us   17 scale of the hold

local other = not away and other_scale(ARGV[17])
if other then
    return other
end
local o, ended = find_order()
if ended then
    return ended
end
if now > tonumber(ARGV[16]) then
    return answer('REQUEST_EXPIRED')
elseif not A then
    return answer('ACCOUNT_NOT_FOUND')
elseif not o then
    return answer('ORDER_NOT_FOUND')
end
local lots, client = tonumber(ARGV[10]), ARGV[13]
local was_row, row = load_row(o.symbol, o.leg)
local hold = tonumber(ARGV[11])
if o.reduces then
    -- Nothing while it can only reduce, as at its placement. A surplus that has arisen since is never charged: only more
    -- lots are asked for anew.
    local grown = max(o.working, lots - o.filled) - o.working
    local resting = o.bid and row[REDUCE_BID] or row[REDUCE_ASK]
    if (grown == 0 and not is_counted(o)) or resting + grown <= (o.bid and 0 - row[LOTS] or row[LOTS]) then
        hold = 0
    end
end
local after = changed(o)
after.amend_id, after.amend_lots, after.amend_hold = ident, lots, hold
after.amend_price_ticks = tonumber(ARGV[12]) or o.price_ticks
after.amend_deadline = ARGV[15]
after.working, after.hold = standing(after, o.filled)
-- Before the bytes have left there is nothing to amend, and nobody knows which version an UNKNOWN order has.
local legal = (o.state == 'SENT' or o.state == 'LIVE') and o.amend_lots == 0
local owned
if legal then
    owned = replace_resting(row, o, after)
    put_row(o.symbol, o.leg, was_row, row)
end
local _, all, _, free, good = next_totals()
-- A charge per lot can rise, and with it what every other order requires, where neither lots nor hold do.
local grows = after.working > o.working or after.hold > o.hold or all > A.all
if grows and A.said[STATUS] ~= 'ACTIVE' then
    return answer(suspended() and 'ACCOUNT_SUSPENDED' or 'ACCOUNT_RECOVERING')
end
local here = { order = o.id, state = o.state }
local known = client ~= '' and known_as(client) or nil
if known and known ~= o.id then
    return answer('ORDER_EXISTS', here)
end
if not legal then
    return answer('ILLEGAL_TRANSITION', here)
end
if grows and ARGV[14] ~= '' and ARGV[14] ~= A.said[TERMS_VERSION] then
    return answer('TERMS_CHANGED', here)
end

-- First limit that the larger order meets.
local function limit_met()
    local limits, rise, more = A.limits or {}, all - A.all, after.hold - o.hold
    if not good then
        return 'AMOUNT_OVERFLOW'
    elseif is_counted(after) and stale() then -- what can only reduce waits for no mark
        return 'STALE_MARK'
    end
    local most = limits.position_lots_max and limits.position_lots_max[o.symbol]
    if most and after.working > o.working and reach(row, o.bid, after.reduces, is_counted(after)) > most then
        return 'POSITION_LIMIT'
    end
    if (more ~= 0 and limits.order_margin_max and after.hold > limits.order_margin_max)
        or (rise > 0 and limits.margin_max and all > limits.margin_max) then
        return 'ORDER_LIMIT'
    end
    local owner_most = limits.owner_margin_max and limits.owner_margin_max[o.owner]
    if owner_most and more ~= 0 and tonumber(owned) > owner_most then
        return 'OWNER_LIMIT'
    end
    return rise > 0 and free < 0 and 'INSUFFICIENT_MARGIN' or nil
end

if grows then
    local code = limit_met()
    if code == 'INSUFFICIENT_MARGIN' then
        local room = sum(A.balance, A.counted, 0 - A.all)
        return answer(code, { order = o.id, required = text(all - A.all), free = room })
    elseif code then
        return answer(code, here)
    end
end
detail('lots', text(lots))
detail('hold', text(hold))
detail('price_ticks', text(after.amend_price_ticks))
if client ~= '' then
    detail('client_id', quoted(client))
end
local reply, written = finish('OK', o.id, o.state)
if written then
    put_order(o, after, true)
    if client ~= '' and not known then
        put_alias(client, o)
    end
    if owned then
        call('HSET', OWNERS, o.owner, owned)
    end
end
return reply
