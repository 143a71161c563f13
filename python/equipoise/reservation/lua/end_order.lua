-- The venue refused, cancelled or expired the order: release what it still holds. ARGV 10 the state asked   11 reason

local o, refusal = event_order()
if not o then
    return refusal
end
local target, reason = end_of(o, ARGV[10], ARGV[11])
if ARGV[11] ~= '' then
    detail('reason', quoted(ARGV[11]))
end
if terminal(o) then
    local same = o.state == target
    if op == 'reject' then
        same = o.state == 'REJECTED' or (o.state == 'CANCELLED' and of_refusal(o.reason))
    end
    -- Journalled although it changes nothing, so that its repeat gets the same answer.
    local reply, written = finish(same and 'DUPLICATE' or 'ILLEGAL_TRANSITION', o.id, o.state)
    if written then
        call('HSET', o.key, EVENT .. ident, print_ .. '\31' .. D.answer)
    end
    return reply
end
local was, row = load_row(o.symbol, o.leg)
local after = changed(o)
end_order(o, after, row, target, reason)
put_row(o.symbol, o.leg, was, row)
local owned = owned_after(o.owner, 0 - o.hold)
local reply, written = finish('OK', o.id, target)
if written then
    put_order(o, after, true)
    if owned then
        call('HSET', OWNERS, o.owner, owned)
    end
end
return reply
