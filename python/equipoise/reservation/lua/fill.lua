-- Book lots that traded: hold to position, result and fee to the balance, in any state of the order.
-- ARGV 10 lots   11 margin or empty   12 realised_pnl or empty   13 fee   14 scale of the amounts

local other = not away and other_scale(ARGV[14])
if other then
    return other
end
local o, refusal = event_order()
if not o then
    return refusal
end
local lots, over_before = tonumber(ARGV[10]), terminal(o)
local least = function(a, b) return a < b and a or b end
local taken = least(lots, o.working)
local working = o.working - taken
local late = least(lots - taken, o.released)
local over = lots - taken - late
local hold = o.hold
if taken > 0 then
    local _
    _, hold = standing(o, o.filled + taken)
end
local given = o.hold - hold
local after = changed(o)
-- The position mode changes when nothing is live, and an order that ended before may be filled after it. A position that
-- it opened at the leg of the old mode could never be reduced.
if (A.positions == 'hedge') ~= (o.leg ~= '') then
    after.leg = A.positions == 'hedge' and (o.bid and 'long' or 'short') or ''
end
local was, row = load_row(o.symbol, after.leg)
if taken > 0 then
    less_resting(row, o, given, taken)
    if working == 0 then
        order_rate_less(row, o)
    end
end
local flags = {}
local function flag(name)
    flags[#flags + 1] = name
end
if late > 0 or (over_before and o.state ~= 'FILLED' and o.state ~= 'CLOSED') then
    flag('late_fill')
end
if over > 0 then
    flag('overfill')
end
local margin = tonumber(ARGV[11])
if not margin then
    -- The released hold's part for the lots that open, which are all of a ticket's.
    local opposing = A.positions == 'tickets' and 0 or (o.bid and 0 - row[LOTS] or row[LOTS])
    local opened = lots - least(lots, max(opposing, 0))
    margin = held(given, lots, opened)
    if opened > 0 and margin == 0 then
        flag('margin_missing')
    end
end
local opened, took, more, missing = trade(row, after, lots, margin, tonumber(ARGV[12]), tonumber(ARGV[13]))
local under = opened > 0 and took > given
if under then
    flag('under_reserved')
end
if row[REDUCE_ASK] > max(row[LOTS], 0) or row[REDUCE_BID] > max(0 - row[LOTS], 0) then
    flag('reduce_only_surplus')
end
for _, name in ipairs(more) do
    flag(name)
end
after.state = over_before and o.state or (working > 0 and 'LIVE' or 'FILLED')
local ended = not over_before and working == 0
after.hold, after.working = hold, working
after.filled, after.released, after.over = o.filled + taken + late, o.released - late, o.over + over
after.flags = joined_flags(o.flags, flags)
if ended then
    after.cancel = nil
    if o.amend_lots > 0 then
        without_amendment(after)
    end
    D.live = D.live - 1
end
local function count(name)
    D.more[#D.more + 1] = name
    D.more[#D.more + 1] = text(more_of(name) + 1)
end
if flags[1] == 'late_fill' then
    count('late_fills')
end
if over > 0 then
    count('overfills')
end
if under then
    count('under_reserved')
end
if missing then
    count('pnl_missing')
end
journal_order(o, after)
put_row(o.symbol, after.leg, was, row)
local owned = owned_after(o.owner, 0 - given)
local reply, written = finish('OK', o.id, after.state, flags_json(flags))
if written then
    put_order(o, after, true)
    if after.leg ~= o.leg then
        if after.leg ~= '' then
            call('HSET', o.key, 'leg', after.leg)
        else
            call('HDEL', o.key, 'leg')
        end
    end
    if owned then
        call('HSET', OWNERS, o.owner, owned)
    end
end
return reply
