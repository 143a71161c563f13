-- Write a checkpoint; delete ids, settled orders and exported journal records older than the horizon; shrink orders that
-- ended without a fill.
-- KEYS 13, 14, … records of orders that may go, then of orders that may shrink
-- ARGV 7 horizon_us   8 how many orders may go   9 compact_us or empty   10 how many may shrink
--      11, … ids of the ones and of the others, then of requests that may go

local moved = away
if moved then
    return moved
end
if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
local watermark, count = now - tonumber(ARGV[7]), tonumber(ARGV[8])
local ended, cutoff = tonumber(ARGV[10]), ARGV[9] ~= '' and now - tonumber(ARGV[9])
if watermark <= A.watermark then
    return answer('OK')
end
check_indexes()
call('HLEN', ALIASES)
local gone = {}
for i = 1, count do
    local o = load_order(KEYS[RECORD - 1 + i], ARGV[10 + i], '')
    if o and terminal(o) and o.open == 0 and o.changed <= watermark then
        gone[#gone + 1] = o
    end
end
local aged = call('ZCOUNT', DUE, text(0 - watermark), '(0')
if aged + call('ZCOUNT', DUE, text(0 - watermark - SEEN), '(' .. text(0 - SEEN)) ~= #gone then
    return 'K'
end
-- What is left of an order that ended without a fill: all that a late fill needs, and the aliases it may come under.
local seen, shrunk = {}, {}
for i = count + 1, count + ended do
    local key = KEYS[RECORD - 1 + i]
    local o = load_order(key, ARGV[10 + i], '')
    if o and terminal(o) and o.open == 0 and o.changed <= cutoff and o.changed > watermark then
        seen[#seen + 1] = o
        local unfilled = o.filled + o.over == 0 and o.state ~= 'FILLED' and o.state ~= 'CLOSED'
        if o.request and unfilled then
            local left = {
                'symbol', o.symbol, 'side', o.bid and 'bid' or 'ask', 'lots', text(o.lots), 'released',
                text(o.released), 'state', o.state, 'seq', text(o.seq), 'version', text(o.version), 'changed_us',
                text(o.changed),
            }
            local optional_fields = {
                'leg', o.leg, 'flags', o.flags, 'released_margin', o.given > 0 and text(o.given) or '',
            }
            for n = 1, #optional_fields, 2 do
                if optional_fields[n + 1] ~= '' then
                    left[#left + 1], left[#left + 2] = optional_fields[n], optional_fields[n + 1]
                end
            end
            for _, field in ipairs(call('HKEYS', key)) do
                if sub(field, 1, 2) == 'a:' then
                    left[#left + 1], left[#left + 2] = field, '1'
                end
            end
            shrunk[#shrunk + 1] = { key, left }
        end
    end
end
table.sort(gone, function(a, b) return a.seq < b.seq end)
local old_ids = {}
-- An id that is let go while its outbox entry is open is not used again before it is settled: then this says so.
local open_entries, has_entries = {}, call('XLEN', OUTBOX) > 0
call('HLEN', WAITING)
for i = 11 + count + ended, #ARGV do
    local at, version = match(call('HGET', REQUESTS, ARGV[i]) or '', '^(%-?%d+) (%d+) ')
    if at and tonumber(at) <= watermark then
        old_ids[#old_ids + 1] = ARGV[i]
        local open = has_entries and entry_orders(ARGV[i], version)
        if open and call('HEXISTS', WAITING, ARGV[i]) == 0 then
            open_entries[#open_entries + 1] = { ARGV[i], version .. ' ' .. text(open) }
        end
    end
end

-- Journal records that go are folded into the base, so that what remains can still be proven. A record that an id
-- still leads to stays, and so do those after it.
local base, last = {}, nil
local function fold(record)
    last = record
    for _, change in ipairs(record[9]) do
        base['s:' .. row_field(change[1], change[2])] =
            format('[%.0f,%.0f,%.0f,%.0f]', change[4][1], change[4][2], change[4][3], change[4][4])
    end
    for _, change in ipairs(record[10]) do
        local after = change[3]
        base['o:' .. change[1]] = after ~= cjson.null and format(
            '["%s",%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f]', after[1], after[2], after[3], after[4], after[5],
            after[6], after[7], after[8], after[9]
        ) or false
    end
end
local exported, trimmed = more_of('exported_version', 'trimmed_version')
local trim = trimmed
-- A repair may have begun the journal anew: what is older is told by its base already.
local based = tonumber(call('HGET', BASE, 'version') or 0)
while trim < exported do
    local entry = call('XRANGE', JOURNAL, text(trim + 1) .. '-0', text(trim + 1) .. '-0')[1]
    if not entry and trim + 1 > based then
        break
    end
    if entry then
        local record = cjson.decode(entry[2][2])
        local issued, version = match(call('HGET', REQUESTS, record[4]) or '', '^(%-?%d+) (%d+) ')
        local needed = issued and tonumber(issued) > watermark and tonumber(version) == trim + 1
        if record[2] > watermark or needed then
            break
        end
        if trim + 1 > based then
            fold(record)
        end
    end
    trim = trim + 1
end

local function before(a, b)
    local least = #a < #b and #a or #b
    for i = 1, least do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then
            return x < y
        end
    end
    return #a < #b
end
local fields, rows = {}, all_rows()
for field in pairs(rows) do
    fields[#fields + 1] = field
end
-- Byte by byte: the server's locale must not decide. The field of a leg has \31 where the symbol ends.
table.sort(fields, before)
for _, field in ipairs(fields) do
    local symbol, leg = match(field, '^([^\31]*)\31?(.*)$')
    put_row(symbol, leg, rows[field], rows[field])
end
detail('watermark_us', text(watermark))
detail('orders', text(#gone))
detail('compacted', text(#shrunk))
detail('trimmed_version', text(trim))
detail('open_orders', text(A.live))
detail('digest', '"' .. A.said[DIGEST] .. '"')
local aliases = {}
for i, o in ipairs(gone) do
    D.orders[i] = '[' .. quoted(o.id) .. ',' .. snapshot(o) .. ',null]'
    for _, field in ipairs(call('HKEYS', o.key)) do
        if sub(field, 1, 2) == 'a:' then
            aliases[#aliases + 1] = sub(field, 3)
        end
    end
end
D.forgotten = #gone + #old_ids
D.more = { 'watermark_us', text(watermark), 'trimmed_version', text(trim) }
local reply, written = finish('OK')
if written then
    for _, o in ipairs(gone) do
        call('UNLINK', o.key)
        call('ZREM', ORDERS, o.id)
        call('ZREM', DUE, o.id)
    end
    for _, item in ipairs(shrunk) do
        -- Deleted first: a hash that has grown large stays in the larger form.
        local key, left = item[1], item[2]
        call('DEL', key)
        call('HSET', key, unpack(left))
    end
    for _, o in ipairs(seen) do
        call('ZADD', DUE, text(0 - math.min(o.changed, SEEN - 1) - SEEN), o.id)
    end
    for _, alias in ipairs(aliases) do
        call('HDEL', ALIASES, alias)
    end
    for _, item in ipairs(open_entries) do
        call('HSET', WAITING, item[1], item[2])
    end
    for _, name in ipairs(old_ids) do
        call('HDEL', REQUESTS, name)
    end
    if trim > trimmed then
        call('XTRIM', JOURNAL, 'MINID', '=', text(trim + 1) .. '-0')
    end
    if last then
        for field, value in pairs(base) do
            if value then
                call('HSET', BASE, field, value)
            else
                call('HDEL', BASE, field)
            end
        end
        local then_ = last[8]
        call('HSET', BASE, 'version', text(trim), 'totals', totals_text(then_[1], then_[2], then_[3], then_[4]))
    end
end
return reply
