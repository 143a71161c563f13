-- Return the effect of an id, or plant a tombstone that refuses a late arrival.

local moved = away
if moved then
    return moved
end
if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
local kept, tombstone = kept_request()
if tombstone then
    heard()
    return answer('DUPLICATE')
end
if kept then
    print_ = match(kept, '^%d+ (.*)$')
    return again(kept)
end
if tonumber(issued) <= A.watermark then
    -- It may have been used and let go since, with orders that live; nothing can use it any more.
    return answer('TOO_OLD_FOR_DEDUPE')
end
local reply, written = finish('OK')
if written then
    remember_request('0')
end
return reply
