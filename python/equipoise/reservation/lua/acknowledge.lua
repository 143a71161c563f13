-- The venue knows the order, under its own id. KEYS 14 record of an order of that name, if any. ARGV 10 venue id or empty
-- 11 1: the id was made from what the event says

local o, refusal = event_order(ARGV[11] == '1' and is_unknown)
if not o then
    return refusal
end
local venue = ARGV[10]
local known, flags, alias = nil, '', nil
if venue ~= '' then
    known = known_as(venue)
    if known and known ~= o.id then
        flags = '"alias_taken"'
    elseif not known then
        alias = venue
    end
end
detail('venue_id', venue ~= '' and quoted(venue) or 'null')
local kept = o.venue
if not kept and flags == '' and venue ~= '' then
    kept = venue
end
local over = terminal(o)
if o.state == 'LIVE' and not alias and (kept or nil) == (o.venue or nil) and flags == '' then
    return answer('DUPLICATE', { order = o.id, state = 'LIVE' })
end
local after = changed(o)
after.state = over and o.state or 'LIVE'
after.venue = kept
journal_order(o, after)
local reply, written = finish(over and 'ILLEGAL_TRANSITION' or 'OK', o.id, after.state, flags)
if written then
    put_order(o, after, true)
    if alias then
        put_alias(alias, o)
    end
end
return reply
