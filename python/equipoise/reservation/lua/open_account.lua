-- Open an account with its first balance and terms.
-- ARGV 9 currency   10 scale   11 balance   12 terms: "combine positions pnl_policy[ limits as JSON]"
--      13 1: the book cannot keep these terms   14 horizon_us   15 the terms as journalled, JSON

local refused = away or gate() or (A and answer('ACCOUNT_EXISTS'))
if refused then
    return refused
end
if ARGV[13] == '1' then
    return answer('TERMS_INVALID')
end
open_blank(ARGV[12], ARGV[9], ARGV[10], ARGV[11], ARGV[14])
detail('currency', quoted(ARGV[9]))
detail('scale', ARGV[10])
detail('terms', ARGV[15])
local reply, written = finish('OK')
if written then
    remember_request('1')
end
return reply
