-- Replace the terms; combine rule and position mode only when flat with no live orders.
-- ARGV 9 terms: "combine positions pnl_policy[ limits as JSON]"   10 1: the book cannot keep these terms
--      11 the terms as journalled, JSON   12 scale of the limits

local refused = away or other_scale(ARGV[12]) or gate()
if refused then
    return refused
end
if ARGV[10] == '1' then
    return answer('TERMS_INVALID')
end
local combine, positions, policy = match(ARGV[9], '^([%l_]+) (%l+) ([%l_]+)')
if combine ~= A.combine or positions ~= A.positions then
    local busy = A.live ~= 0
    for _, row in pairs(all_rows()) do
        busy = busy or has_position(row)
    end
    if busy then
        return answer('TERMS_INVALID')
    end
end
A.all_pnl = policy == 'all'
D.more = { 'terms', ARGV[9], 'terms_version', text(A.said[TERMS_VERSION] + 1) }
detail('terms', ARGV[11])
local reply, written = finish('OK')
if written then
    remember_request(step_version())
end
return reply
