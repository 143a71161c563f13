-- Take an order into a sender's hands; only this call's OK permits the bytes.

-- Where steps may be lost nothing leaves, whether or not the order is there.
local o, refusal = event_order(nil, A and recovering() and 'ACCOUNT_RECOVERING')
if not o then
    return refusal
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
