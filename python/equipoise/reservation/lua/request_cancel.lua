-- Note that a cancel has been asked of the venue; frees nothing. ARGV 10 deadline_us
-- 11 1: the id was made from what the event says

local o, refusal = event_order(ARGV[11] == '1' and function(order)
    return not order.cancel and not terminal(order)
end)
if not o then
    return refusal
end
if terminal(o) then
    return answer('ILLEGAL_TRANSITION', { order = o.id, state = o.state })
end
detail('deadline_us', ARGV[10])
local after = changed(o)
after.cancel = ARGV[10]
journal_order(o, after)
local reply, written = finish('OK', o.id, o.state)
if written then
    put_order(o, after, true)
end
return reply
