-- Account-level requests: looked up by id, valid from `issued` to `not_after`.
-- ARGV 7 issued_us   8 not_after_us
-- Kept under an id: "<version> <fingerprint>"; version 0 is a tombstone (abandoned). issued_us is kept apart, in front.

local issued, not_after = ARGV[7], ARGV[8]
if D then
    D.timed = ident ~= ''
end

local function kept_request()
    local kept
    if D and D.batch then
        kept = D.batch.requests[ident]
    elseif ident ~= '' then
        kept = call('HGET', REQUESTS, ident)
    end
    if not kept then
        return nil
    end
    local rest = match(kept, '^%-?%d+ (%d+ .*)$')
    if not rest then
        corrupt('id ' .. ident)
    end
    return rest, sub(rest, 1, 2) == '0 '
end

-- Id first, then the watermark, then the validity, then the tombstone. Nil: go on.
local function gate()
    local kept, tombstone = kept_request()
    if kept and not tombstone then
        return again(kept)
    end
    if A and tonumber(issued) <= A.watermark then
        return answer('TOO_OLD_FOR_DEDUPE')
    end
    if now > tonumber(not_after) then
        return answer('REQUEST_EXPIRED')
    end
    if kept then
        return answer('REQUEST_ABANDONED')
    end
    if not A and op ~= 'open_account' and op ~= 'import_flat' then
        return answer('ACCOUNT_NOT_FOUND')
    end
    return nil
end

-- `version` as text.
local function remember_request(version)
    if ident ~= '' then
        local kept = issued .. ' ' .. version .. ' ' .. print_
        if D.batch then
            local list = D.batch.kept
            list[#list + 1], list[#list + 2], D.batch.requests[ident] = ident, kept, kept
        else
            call('HSET', REQUESTS, ident, kept)
        end
    end
end

-- Accounts that may not ask for more.
local function growth_gate()
    if A.said[STATUS] == 'ACTIVE' then
        return nil
    end
    -- As suspended() says: one function less to make for every reservation.
    return answer(sub(A.said[STATUS], 1, 9) == 'SUSPENDED' and 'ACCOUNT_SUSPENDED' or 'ACCOUNT_RECOVERING')
end

-- The account before its first step.
local function open_blank(terms, currency, scale, balance, horizon_us)
    local combine, positions, policy = match(terms, '^([%l_]+) (%l+) ([%l_]+)')
    A = {
        said = { [SCALE] = scale, [STATUS] = 'ACTIVE', [DIGEST] = '0' }, totals = '[0,0,0,0]', version = 0,
        balance = 0, pnl = 0, counted = 0, executed = 0, all = 0, live = 0, combine = combine, positions = positions,
        all_pnl = policy == 'all', records = 0, digest = 0,
    }
    D = {
        balance = tonumber(balance), pnl = 0, live = 0, rows = {}, orders = {}, details = '',
        added = 0, forgotten = 0, timed = true,
        more = {
            'schema', SCHEMA, 'currency', currency, 'scale', scale, 'opened_us', now_text, 'status', 'ACTIVE', 'terms',
            terms, 'terms_version', '1', 'watermark_us', text(now - tonumber(horizon_us)), 'late_fills', '0',
            'overfills', '0', 'under_reserved', '0', 'pnl_missing', '0', 'exported_version', '0', 'trimmed_version',
            '0', 'home', ARGV[3],
        },
    }
end
