-- Open an account with its first balance and terms.
-- ARGV 9 currency   10 scale   11 balance   12 terms: "combine positions pnl_policy[ limits as JSON]"
--      13 1: the book cannot keep these terms   14 horizon_us   15 the terms as journalled, JSON

local refused = away() or gate() or (A and answer('ACCOUNT_EXISTS'))
if refused then
    return refused
end
if ARGV[13] == '1' then
    return answer('TERMS_INVALID')
end
local watermark = text(now - tonumber(ARGV[14]))
local combine, positions, policy = match(ARGV[12], '^([%l_]+) (%l+) ([%l_]+)')
A = {
    version = 0, balance = 0, pnl = 0, counted = 0, executed = 0, all = 0, live = 0, status = 'ACTIVE',
    combine = combine, positions = positions, all_pnl = policy == 'all', scale = ARGV[10], records = 0,
    digest = '0-0',
}
D = {
    balance = tonumber(ARGV[11]), pnl = 0, live = 0, rows = {}, orders = {}, details = {}, rates_out = {}, rates_in = {},
    entries = {}, added = 0, forgotten = 0, timed = true,
    more = {
        'schema', SCHEMA, 'currency', ARGV[9], 'scale', ARGV[10], 'opened_us', text(now), 'status', 'ACTIVE', 'terms',
        ARGV[12], 'terms_version', '1', 'watermark_us', watermark, 'late_fills', '0', 'overfills', '0',
        'under_reserved', '0', 'pnl_missing', '0', 'exported_version', '0', 'trimmed_version', '0', 'home', ARGV[3],
    },
}
detail('currency', quoted(ARGV[9]))
detail('scale', ARGV[10])
detail('terms', ARGV[15])
local reply, written = finish('OK')
if written then
    remember_request(1)
end
return reply
