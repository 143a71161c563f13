-- Cancel what was never sent, and label what is overdue UNKNOWN. Frees nothing that may be live.
-- KEYS 13, 14, … records of orders that may be due
-- ARGV 7 sweeper, empty: without a lease   8 lease_us   9, 10, … ids of the orders
-- The lease is a field of user_portfolio: "<from> <until> <sweeper>".

local moved = away
if moved then
    return moved
end
if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
local sweeper = ARGV[7]
if sweeper ~= '' then
    local from, till, holder = match(call('HGET', PORTFOLIO, 'lease') or '', '^(%-?%d+) (%-?%d+) (.*)$')
    -- One that begins in the future is from before the clock went back: it would last longer than anybody asked.
    if holder and holder ~= sweeper and tonumber(from) <= now and now < tonumber(till) then
        return answer('OK', { flags = '"leased"' })
    end
    D.more = { 'lease', now_text .. ' ' .. text(now + tonumber(ARGV[8])) .. ' ' .. sweeper }
end
check_indexes()
local overdue = {}
for i = 9, #ARGV do
    local o = load_order(KEYS[RECORD + i - 9], ARGV[i], '')
    if o and not terminal(o) and o.state ~= 'UNKNOWN' then
        local at = overdue_at(o, o.changed)
        if at and at < now then
            overdue[#overdue + 1] = o
        end
    end
end
if not overdue[1] then
    if sweeper ~= '' then
        call('HSET', PORTFOLIO, D.more[1], D.more[2])
    end
    return answer('OK')
end
table.sort(overdue, function(a, b)
    if a.created ~= b.created then
        return a.created < b.created
    elseif a.version ~= b.version then
        return a.version < b.version
    end
    return fmod(a.seq, 1000) < fmod(b.seq, 1000)
end)
local rows, owners, pairs_ = {}, {}, {}
for i, o in ipairs(overdue) do
    local after = changed(o)
    pairs_[i] = after
    if o.state == 'RESERVED' then
        local field = row_field(o.symbol, o.leg)
        if not rows[field] then
            local was, row = load_row(o.symbol, o.leg)
            rows[field] = row
            put_row(o.symbol, o.leg, was, row)
        end
        end_order(o, after, rows[field], 'CANCELLED', 'never_sent', true)
        if o.owner ~= '' then
            local owned = owners[o.owner] or figure(call('HGET', OWNERS, o.owner), 'owner')
            owners[o.owner] = owned_with(o.owner, owned, 0 - o.hold)
        end
    else
        after.state = 'UNKNOWN'
        journal_order(o, after)
    end
end
if rates_out then
    -- Once for all orders of a symbol, because it looks at every rate that was taken away.
    for _, item in ipairs(D.rows) do
        item[4][RATE_ORDERS] = rate_top('orders', item[1], 0)
    end
end
local reply, written = finish('OK')
if written then
    for i, after in ipairs(pairs_) do
        put_order(overdue[i], after)
    end
    for owner, held_now in pairs(owners) do
        call('HSET', OWNERS, owner, text(held_now))
    end
end
return reply
