-- Close lots of a ticket: margin and result in one step. ARGV 10 lots or empty: all   11 realised_pnl or empty   12 fee
--      13 scale of the amounts

local other = not away and other_scale(ARGV[13])
if other then
    return other
end
local o, refusal = event_order()
if not o then
    return refusal
end
local lots = ARGV[10] ~= '' and tonumber(ARGV[10]) or o.open
if o.open == 0 or lots > o.open then
    return answer('ILLEGAL_TRANSITION', { order = o.id, state = o.state })
end
local left = o.open - lots
local margin = held(o.margin, o.open, left)
local was, row = load_row(o.symbol, o.leg)
local side = o.bid and LONG or SHORT
if row[side] < lots or row[MARGIN] < o.margin - margin then
    -- The totals are lost or are those of other tickets.
    corrupt('less of ' .. o.symbol .. ' is open than of ' .. o.id)
end
local after = changed(o)
if A.combine == 'larger_leg' then
    ticket_rate(row, o, 0 - lots, margin - o.margin)
end
local gross = row[LONG] + row[SHORT]
local open_pnl = pro_rata(row[OPEN_PNL], gross, gross - lots)
D.pnl = sum(D.pnl, open_pnl, 0 - row[OPEN_PNL])
row[LOTS] = row[LOTS] + (o.bid and 0 - lots or lots)
row[MARGIN] = row[MARGIN] - (o.margin - margin)
row[side] = row[side] - lots
row[OPEN_PNL] = open_pnl
if lots == gross and replaces(now, row[MARKED]) then
    row[MARKED] = now
end
put_row(o.symbol, o.leg, was, row)
local pnl = tonumber(ARGV[11])
D.balance = sum(D.balance, pnl or 0, 0 - tonumber(ARGV[12]))
detail('lots', text(lots))
detail('realised_pnl', pnl and text(pnl) or 'null')
detail('fee', ARGV[12])
after.open, after.margin = left, margin
if terminal(o) and left == 0 then
    after.state = 'CLOSED'
end
if not pnl then
    D.more = { 'pnl_missing', text(more_of('pnl_missing') + 1) }
end
journal_order(o, after)
local reply, written = finish('OK', o.id, after.state, pnl and '' or '"pnl_missing"')
if written then
    put_order(o, after, true)
end
return reply
