-- The account is met on another node than the one that wrote it last. After a promotion the last steps may be lost:
-- facts pass, no grants and no claims until reconciled. After a planned move of the slot nothing is lost.
-- ARGV 7 the home the caller was told   8 1: a promotion

if not A or A.said[HOME] ~= ARGV[7] then
    return answer('OK')
end
if ARGV[8] ~= '1' then
    call('HSET', PORTFOLIO, 'home', ARGV[3])
    return answer('OK')
end
local status = status_of(suspended(), true)
detail('status', quoted(status))
detail('from', quoted(A.said[HOME]))
detail('to', quoted(ARGV[3]))
D.more = { 'status', status, 'home', ARGV[3] }
return (finish('OK'))
