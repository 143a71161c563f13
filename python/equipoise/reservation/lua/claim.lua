-- Take an order into a sender's hands; only this call's OK permits the bytes.

local o, refusal = event_order()
if not o then
    return refusal
end
if recovering() then
    return answer('ACCOUNT_RECOVERING')
end
-- What the next sweep cancels, the venue cannot take any more, or nobody wants any more does not leave.
local late = o.state == 'RESERVED' and (tonumber(o.deadline) < now or (o.good_till and tonumber(o.good_till) < now))
if o.state ~= 'RESERVED' or late or o.cancel then
    return answer('ILLEGAL_TRANSITION', { order = o.id, state = o.state })
end
local after = changed(o)
after.state = 'SENT'
journal_order(o, after)
local reply, written = finish('OK', o.id, 'SENT')
if written then
    put_order(o, after, true)
end
return reply
