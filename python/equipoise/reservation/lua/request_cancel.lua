-- Note that a cancel has been asked of the venue; frees nothing. ARGV 10 deadline_us

local o, refusal = event_order()
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
