-- The venue took the amendment or refused it: what is held beyond the version that stays is released.
-- KEYS 14 record of an order of the venue id's name, if any
-- ARGV 10 event id of the amendment   11 1: accepted   12 venue id or empty

local o, refusal = event_order()
if not o then
    return refusal
end
if terminal(o) or o.amend_id ~= ARGV[10] then
    return answer('ILLEGAL_TRANSITION', { order = o.id, state = o.state })
end
local accepted, venue = ARGV[11] == '1', ARGV[12]
local filled, state, flags = o.filled, o.state, ''
local after = changed(o)
after.amend_id, after.amend_deadline, after.amend_lots, after.amend_hold, after.amend_price_ticks = nil, nil, 0, 0, 0
if accepted then
    -- A quantity below what had filled by then ends the order at what had filled.
    after.lots, after.hold_start, after.price_ticks = max(o.amend_lots, filled), o.amend_hold, o.amend_price_ticks
    state = 'LIVE'
elseif filled > o.lots then
    flags = '"overfill"'
    D.more = { 'overfills', text(more_of('overfills') + 1) }
    after.over = o.over + filled - o.lots
    filled = o.lots
    after.filled = filled
    after.flags = joined_flags(o.flags, { 'overfill' })
end
after.working, after.hold = standing(after, filled)
local ended = after.working == 0
after.state = ended and 'FILLED' or state
after.given = given_back(o, o.hold - after.hold)
if ended then
    after.cancel = nil
    D.live = D.live - 1
end
local alias = venue ~= '' and not known_as(venue) and venue or nil
local was_row, row = load_row(o.symbol, o.leg)
local owned = replace_resting(row, o, after)
put_row(o.symbol, o.leg, was_row, row)
detail('amend_id', quoted(ARGV[10]))
detail('accepted', accepted and 'true' or 'false')
detail('venue_id', venue ~= '' and quoted(venue) or 'null')
local reply, written = finish('OK', o.id, after.state, flags)
if written then
    put_order(o, after, true)
    if alias then
        put_alias(alias, o)
    end
    if owned then
        call('HSET', OWNERS, o.owner, owned)
    end
end
return reply
