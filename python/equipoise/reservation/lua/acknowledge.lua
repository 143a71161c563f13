-- The venue knows the order, under its own id. KEYS 11 record of an order of that name, if any. ARGV 9 venue id or empty

local o, refusal = event_order()
if not o then
    return refusal
end
local venue = ARGV[9]
local known, flags, alias = nil, '', nil
if venue ~= '' then
    local of = call('HGET', ALIASES, venue)
    local kind = call('TYPE', KEYS[11]).ok
    if kind ~= 'none' and kind ~= 'hash' then
        corrupt('order ' .. venue)
    end
    known = kind == 'hash' and venue or of
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
        call('HSET', ALIASES, alias, o.id)
        call('HSET', o.key, 'a:' .. alias, '1')
    end
end
return reply
