-- End the UNKNOWN state of an order by evidence. ARGV 10 outcome   11 evidence   12 operator
-- 13 1: the id was made from what the event says

local o, refusal = event_order(ARGV[13] == '1' and is_unknown)
if not o then
    return refusal
end
-- That a venue does not know an id proves nothing while the order could still arrive there.
local premature = ARGV[11] == 'not_at_venue' and (not o.good_till or now <= tonumber(o.good_till))
if o.state ~= 'UNKNOWN' or premature then
    return answer('ILLEGAL_TRANSITION', { order = o.id, state = o.state })
end
detail('evidence', quoted(ARGV[11]))
detail('operator', quoted(ARGV[12]))
local after = changed(o)
local owned
if ARGV[10] == 'LIVE' then
    after.state, after.cancel = 'LIVE', nil
    journal_order(o, after)
else
    local target, reason = end_of(o, ARGV[10], ARGV[11])
    local was, row = load_row(o.symbol, o.leg)
    end_order(o, after, row, target, reason)
    put_row(o.symbol, o.leg, was, row)
    owned = owned_after(o.owner, 0 - o.hold)
end
local reply, written = finish('OK', o.id, after.state)
if written then
    put_order(o, after, true)
    if owned then
        call('HSET', OWNERS, o.owner, owned)
    end
end
return reply
