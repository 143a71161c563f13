-- Shared by every script of the book: the account, its symbols, and the one way a step answers and writes.
--
-- A script reads and checks everything, computes every new value, and only then writes; the first write is the journal
-- entry under the id <version>-0, which the stream refuses to take twice. A reply is one string:
--   O<scale><record>   done now; the record is what the journal keeps
--   D<scale><record>   the id was used before for the same content; the record of that first time
--   E<scale><answer>   the same for an event of an order, whose answer outlives the journal
--   R<answer>          anything else, as JSON; nothing was written to the journal
--   K<order id>        the id given is an alias: ask again with the keys of this order
--   H<home>            the account was last written on another node: see home.lua
--   S<scale>           the account has this scale, and the amounts were counted at another: ask again with what is so
--
-- KEYS of every script
--   1 user_portfolio:{a}  hash: the account        2 user_symbols:{a}   hash: running totals per symbol and leg
--   3 user_orders:{a}     zset: every order, by place made; terminal ones negative
--   4 user_due:{a}        zset: when an answer is due; settled orders by minus the time of their last change
--   5 user_aliases:{a}    hash: venue id to order  6 user_requests:{a}  hash: ids of account-level requests
--   7 user_journal:{a}    stream                   8 user_owners:{a}    hash: hold per owner tag
--   9 user_rates:{a}      zset, lexical: charge per lot of each order and ticket (larger_leg)
--  10 user_outbox:{a}     stream: orders to be sent  11 user_waiting:{a}  hash: how many of an entry are unanswered, once
--                                                                         that is less than all
--  12 user_base:{a}       hash: what the journal said up to the last record that was trimmed
--  13 …                   records of orders
-- ARGV of every script
--   1 operation   2 time in microseconds, empty: the server's   3 identity of the node the caller talks to, or empty
--   4 1: a repeat must write too, so that WAIT has something to wait for   5 id   6 fingerprint of the content

-- These names, and every other one that stands for a literal or a library function, are put in where they are used when
-- a script is assembled (redis_scripts.py).
local call, fmod, max = redis.call, math.fmod, math.max
local format, match, find, sub, concat = string.format, string.match, string.find, string.sub, table.concat
local PORTFOLIO, SYMBOLS, ORDERS, DUE, ALIASES, REQUESTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local JOURNAL, OWNERS, RATES, OUTBOX, WAITING, BASE = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local RECORD = 13
local op = ARGV[1]
local ident, print_ = ARGV[5], ARGV[6]
local SCHEMA = '1'
-- Doubles are exact up to here; every amount of the book stays within.
local MOST = 9007199254740991

local function corrupt(what)
    error({ err = 'CORRUPT ' .. what })
end

-- The only way a number becomes text. Adding 0 turns a negative zero into zero.
local function text(n)
    return format('%.0f', n + 0)
end

local function number(value, what)
    local n = tonumber(value)
    if not n or n % 1 ~= 0 then
        corrupt(what .. ' is ' .. tostring(value))
    end
    return n
end

-- Whether all that a reservation says is JSON between quotation marks as it is: its caller looks more cheaply.
local plain

local function quoted(value)
    if not plain and find(value, '[%c"\\]') then
        return cjson.encode(value)
    end
    return '"' .. value .. '"'
end

local function optional(value)
    return value and quoted(value) or 'null'
end

-- Part of an amount that stays held when `left` of `lots` remain; see `held` in money.py. No product above `amount`.
local function held(amount, lots, left)
    if left == lots then
        return amount
    end
    local extra = fmod(amount, lots)
    return (amount - extra) / lots * left + (left < extra and left or extra)
end

local function divide_up(amount, lots)
    local extra = fmod(amount, lots)
    return (amount - extra) / lots + (extra > 0 and 1 or 0)
end

-- a + b + c without leaving the exact range on the way when the sum is inside it.
local function sum(a, b, c)
    if (a < 0) ~= (b < 0) or (b < 0) == (c < 0) then
        return a + b + c
    end
    return b + c + a
end

-- The time of the step in microseconds, as text and as a number.
local now_text = ARGV[2]
if now_text == '' then
    local time = call('TIME')
    now_text = time[1] .. sub('00000' .. time[2], -6)
end
local now = tonumber(now_text)

-- The account; nil where there is none. -----------------------------------------------------------------------------

-- Places in what the account's hash says, of what no step computes with.
local STATUS, TERMS_VERSION, SCALE, DIGEST, HOME = 8, 10, 12, 14, 15

local A
local got = call(
    'HMGET', PORTFOLIO, 'schema', 'version', 'balance', 'open_pnl', 'used_margin_executed', 'used_margin_all',
    'live_orders', 'status', 'terms', 'terms_version', 'watermark_us', 'scale', 'records', 'digest', 'home'
)
if got[1] == SCHEMA then
    local combine, positions, policy, limits = match(got[9] or '', '^([%l_]+) (%l+) ([%l_]+) ?(.*)$')
    if not combine then
        corrupt('terms')
    end
    local version, balance, pnl, executed = tonumber(got[2]), tonumber(got[3]), tonumber(got[4]), tonumber(got[5])
    local all, live, watermark, records = tonumber(got[6]), tonumber(got[7]), tonumber(got[11]), tonumber(got[13])
    -- There were two sums once, with a hyphen between them: this is the first.
    local digest = tonumber(got[DIGEST]) or tonumber(match(got[DIGEST] or '', '^(%d+)%-%d+$'))
    if not (version and balance and pnl and executed and all and live and watermark and records and digest)
        or version % 1 + balance % 1 + pnl % 1 + executed % 1 + all % 1 + live % 1 + watermark % 1 + records % 1
            + digest % 1 ~= 0 then
        corrupt('a figure of the account')
    end
    local counts = pnl < 0 or policy == 'all'
    got[HOME] = got[HOME] or ''
    -- At most 16 names: with more the table takes more than a kilobyte, which the allocator of the server handles apart.
    A = {
        -- What the hash says, for figures that a step leaves as they are: making text of a number again costs more.
        said = got, totals = '[' .. got[3] .. ',' .. (counts and got[4] or '0') .. ',' .. got[5] .. ',' .. got[6] .. ']',
        version = version, balance = balance, pnl = pnl, counted = counts and pnl or 0, executed = executed, all = all,
        live = live, combine = combine, positions = positions, all_pnl = policy == 'all',
        limits = limits ~= '' and cjson.decode(limits) or nil, watermark = watermark, records = records, digest = digest,
    }
elseif got[1] then
    corrupt('schema ' .. got[1])
elseif got[2] or got[3] then
    corrupt('account without schema')
end

-- A promotion may have lost the last steps: the caller settles that before anything else (home.lua). Nil: it has not.
local away = A and ARGV[3] ~= '' and A.said[HOME] ~= ARGV[3] and 'H' .. A.said[HOME] or nil

-- What is answered to amounts that were counted at another scale than the account's; nil where they were not. Before
-- anything else: what is kept under an id is to be compared with what the amounts are at the right one.
local function other_scale(scale)
    return A and scale ~= '' and scale ~= A.said[SCALE] and 'S' .. A.said[SCALE] or nil
end

-- Figures of the account that only some steps need.
local function more_of(...)
    local got = call('HMGET', PORTFOLIO, ...)
    for i = 1, #got do
        got[i] = number(got[i], (select(i, ...)))
    end
    return unpack(got)
end

-- What the account's status says: by an operator, and by a promotion.
local function suspended()
    return sub(A.said[STATUS], 1, 9) == 'SUSPENDED'
end

local function recovering()
    return sub(A.said[STATUS], -10) == 'RECOVERING'
end

-- The status that says both.
local function status_of(is_suspended, is_recovering)
    if is_recovering then
        return is_suspended and 'SUSPENDED_RECOVERING' or 'RECOVERING'
    end
    return is_suspended and 'SUSPENDED' or 'ACTIVE'
end

local function totals_text(balance, counted, executed, all)
    return '[' .. text(balance) .. ',' .. text(counted) .. ',' .. text(executed) .. ',' .. text(all) .. ']'
end

-- Symbols: arrays of lots, margin, hold_bids, hold_asks, bid_lots, ask_lots, reduce_bid_lots, reduce_ask_lots,
-- long_lots, short_lots, rate_orders, rate_tickets, open_pnl, marked_us, revalued_us. --------------------------------

local LOTS, MARGIN, HOLD_BIDS, HOLD_ASKS, BID_LOTS, ASK_LOTS, REDUCE_BID, REDUCE_ASK = 1, 2, 3, 4, 5, 6, 7, 8
local LONG, SHORT, RATE_ORDERS, RATE_TICKETS, OPEN_PNL, MARKED, REVALUED, SAID = 9, 10, 11, 12, 13, 14, 15, 16
-- The journal tells the first ones of a row.
local JOURNALLED = 4
local ROW_OUT = '%.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f'
local ROW_IN = '^(%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) '
    .. '(%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+)$'

-- A row as it is stored; after its figures, at SAID, the text of each.
local function row_of(packed)
    if not packed then
        return nil
    end
    local said = { match(packed, ROW_IN) }
    if not said[15] then
        corrupt('symbol ' .. packed)
    end
    -- Most are 0, which needs no reading.
    local row = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, said }
    for place = 1, REVALUED do
        local figure = said[place]
        if figure ~= '0' then
            row[place] = figure + 0
        end
    end
    return row
end

-- A row for a step to change: a copy, or a new one where there is none.
local function row_after(was)
    if was then
        return { unpack(was, 1, REVALUED) }
    end
    return { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1 }
end

local function row_field(symbol, leg)
    return leg == '' and symbol or symbol .. '\31' .. leg
end

-- Every row, by field name.
local function all_rows()
    local got, rows = call('HGETALL', SYMBOLS), {}
    for i = 1, #got, 2 do
        rows[got[i]] = row_of(got[i + 1])
    end
    return rows
end

local function has_position(row)
    return row[LOTS] ~= 0 or row[LONG] ~= 0 or row[SHORT] ~= 0
end

-- (margin of the position alone, margin of position and resting orders) of one row
local function requirement(row)
    local combine, margin, lots = A.combine, row[MARGIN], row[LOTS]
    if combine == 'sum' or combine == 'hedge_legs' then
        return margin, margin + row[HOLD_BIDS] + row[HOLD_ASKS]
    elseif combine == 'worst_side' or combine == 'per_side' then
        local up = lots >= 0
        local bids = up and margin + row[HOLD_BIDS] or row[HOLD_BIDS] - margin
        local asks = up and margin - row[HOLD_ASKS] or margin + row[HOLD_ASKS]
        return margin, max(bids < 0 and -bids or bids, asks < 0 and -asks or asks)
    elseif combine ~= 'larger_leg' then
        corrupt('combine ' .. combine)
    end
    local long, short, rate = row[LONG], row[SHORT], row[RATE_TICKETS]
    if long == 0 and short == 0 then
        long, short = max(lots, 0), max(0 - lots, 0)
        rate = lots ~= 0 and divide_up(margin, long + short) or 0
    end
    return rate * max(long, short), max(rate, row[RATE_ORDERS]) * max(long + row[BID_LOTS], short + row[ASK_LOTS])
end

-- How far the position gets on a side if everything resting on it filled. Before plain orders, what may only reduce can
-- fill: as much of it as there are lots to close, charged or not. Such an order (`reduces`; `counts`: is charged) is asked
-- about by itself: while all of its kind fits the position it meets no limit.
local function reach(row, bid, reduces, counts)
    if A.positions == 'tickets' then
        return bid and row[LONG] + row[BID_LOTS] or row[SHORT] + row[ASK_LOTS]
    end
    local position, resting, reducing = row[LOTS], row[BID_LOTS], row[REDUCE_BID]
    if not bid then
        position, resting, reducing = 0 - row[LOTS], row[ASK_LOTS], row[REDUCE_ASK]
    end
    if reduces then
        return position + max(counts and resting or 0, reducing)
    end
    return position + max(0, math.min(reducing, 0 - position)) + resting
end

local function fits(row)
    for i = LOTS, SHORT do
        if row[i] > MOST then
            return false
        end
    end
    return row[LOTS] >= -MOST
end

-- Whether what is known as of a time takes the place of what was known as of `last`. The later does, but for a time that
-- is far ahead: that was by a wrong clock, and would keep everything out until the clock is there. Unless this one is from
-- before the account was opened: then it is the clock of now that is wrong.
local function replaces(as_of, last)
    -- Clocks of hosts differ, by less than ten seconds.
    local newest = now + 10000000
    return as_of >= last or (as_of <= newest and newest < last and as_of >= more_of('opened_us'))
end

-- Whether a position's last mark is further from now than the terms allow; ahead of the clock as well, for how old a mark
-- by a clock that was wrong is nobody knows.
local function stale()
    local age = A.limits and A.limits.mark_age_ms_max
    if not age then
        return false
    end
    local oldest, newest = now - age * 1000, now + age * 1000
    for _, row in pairs(all_rows()) do
        if (row[MARKED] < oldest or row[MARKED] > newest) and has_position(row) then
            return true
        end
    end
    return false
end

-- Answers ------------------------------------------------------------------------------------------------------------

-- An answer without a journal record. `more`: order, state, flags, rows, required (text), free, after (text), all optional.
local function answer(code, more)
    more = more or {}
    local was = A and A.totals or 'null'
    return 'R["' .. code .. '",' .. (A and text(A.version) or '0') .. ',' .. (A and A.said[SCALE] or '6') .. ',' .. was .. ','
        .. (more.after or was) .. ',' .. optional(more.order) .. ',' .. optional(more.state) .. ',['
        .. (more.flags or '') .. '],[' .. (more.rows or '') .. '],' .. (more.required or 'null')
        .. ',' .. (more.free and text(more.free) or 'null') .. ']'
end

-- The answer to a request id that was used before, from what was kept under it: "<version> <fingerprint>".
-- What is answered without a step of its own is written about all the same, so that WAIT has something to wait for.
local function heard()
    if ARGV[4] == '1' then
        call('HSET', PORTFOLIO, 'version', text(A.version))
    end
end

local function again(kept)
    local version, first = match(kept, '^(%d+) (.*)$')
    if not version then
        corrupt('id ' .. ident)
    end
    if first ~= print_ then
        return answer('REQUEST_CONFLICT')
    end
    heard()
    local entry = call('XRANGE', JOURNAL, version .. '-0', version .. '-0')[1]
    if not entry then
        corrupt('journal has no version ' .. version)
    end
    return 'D' .. A.said[SCALE] .. entry[2][2]
end

-- The next state of the account while a step computes it. Of several steps in one call: at `batch`, what is written once,
-- after the last of them (reserves.lua).
local D = A and {
    balance = A.balance, pnl = A.pnl, live = A.live, rows = {}, orders = {}, details = '', more = {}, added = 0,
    forgotten = 0,
}

-- The version that the step gives the account, as text.
local function step_version()
    local version = D.version
    if not version then
        version = text(A.version + 1)
        D.version = version
    end
    return version
end

-- Charges per lot that a step adds to the sorted set, as its ZADD wants them, and those that it takes away.
local rates_in, rates_out

-- A digest of the orders that stand, which does not depend on their order: a sum of 48 bits over a hash of each.
local WRAP = 281474976710656
local function digest_of(order_id, snapshot, sign)
    local hash = redis.sha1hex(order_id .. '\31' .. snapshot)
    -- Wrapped each time: 33 of these would leave the range in which doubles are exact.
    D.stood = fmod((D.stood or 0) + sign * tonumber(sub(hash, 1, 12), 16), WRAP)
end

-- Orders of the outbox entry that a request wrote with this version; nil where it is gone.
local function entry_orders(request_id, version)
    local entry = call('XRANGE', OUTBOX, version .. '-0', version .. '-0')[1]
    local fields, said = entry and entry[2] or {}, {}
    for i = 1, #fields, 2 do
        said[fields[i]] = fields[i + 1]
    end
    return said.request_id == request_id and #cjson.decode(said.order_ids or '') or nil
end

-- One order of an outbox entry needs no sender any more; the last one takes the entry away. `seq`: the order's.
local function settle_outbox(request_id, seq)
    local entries = D.entries or {}
    local entry = entries[request_id]
    if not entry then
        call('XLEN', OUTBOX)
        local version, open = match(call('HGET', WAITING, request_id) or '', '^(%d+) (%d+)$')
        if not version then
            version = text((seq - fmod(seq, 1000)) / 1000)
            open = entry_orders(request_id, version)
        end
        if not open then
            return
        end
        entry = { version, tonumber(open) }
        entries[request_id], D.entries = entry, entries
    end
    entry[2] = entry[2] - 1
end

local function put_row(symbol, leg, was, row)
    local rows = D.rows
    rows[#rows + 1] = { symbol, leg, was, row }
end

local function detail(name, value)
    D.details = D.details .. (D.details == '' and '["' or ',["') .. name .. '",' .. value .. ']'
end

-- Highest rate of a symbol after the step, `best` being the highest it adds.
local function rate_top(kind, symbol, best)
    local prefix = kind .. '\31' .. symbol .. '\31'
    local gone = rates_out or {}
    -- At most one stored member more than the step takes away has to be looked at.
    local found = call('ZREVRANGEBYLEX', RATES, '[' .. prefix .. ':', '[' .. prefix, 'LIMIT', 0, #gone + 1)
    for _, member in ipairs(found) do
        if not gone[member] then
            return max(best, tonumber(sub(member, #prefix + 1, #prefix + 16)))
        end
    end
    return best
end

local function rate_member(kind, symbol, rate, order_id)
    return kind .. '\31' .. symbol .. '\31' .. format('%016.0f', rate) .. '\31' .. order_id
end

local function rate_less(member)
    rates_out = rates_out or {}
    rates_out[#rates_out + 1] = member
    rates_out[member] = true
end

local function rate_more(member)
    rates_in = rates_in or {}
    rates_in[#rates_in + 1] = '0'
    rates_in[#rates_in + 1] = member
end

-- Totals after the step: executed, all, counted, free; and whether every figure stays in range. `executed` and `all`
-- where they are known already.
local function next_totals(executed, all)
    local good = true
    if not all then
        executed, all = A.executed, A.all
        for _, item in ipairs(D.rows) do
            local was, row = item[3], item[4]
            if was then
                local was_executed, was_all = requirement(was)
                executed, all = executed - was_executed, all - was_all
            end
            local now_executed, now_all = requirement(row)
            executed, all = executed + now_executed, all + now_all
            good = good and fits(row)
        end
    end
    local balance, pnl = D.balance, D.pnl
    local counted = (pnl < 0 or A.all_pnl) and pnl or 0
    local free = sum(balance, counted, 0 - all)
    good = good and balance <= MOST and balance >= -MOST and pnl <= MOST and pnl >= -MOST and executed >= 0
        and executed <= MOST and all >= 0 and all <= MOST and free <= MOST and free >= -MOST
    return executed, all, counted, free, good
end

-- Write the step, its journal record first; returns the reply and whether it was written. Orders are the caller's to
-- write afterwards, from values computed before. `refused`: rows of a ladder that were not held, as JSON. `executed` and
-- `all` as in next_totals.
local function finish(code, order_id, state, flags, refused, executed, all)
    local counted, good, _
    executed, all, counted, _, good = next_totals(executed, all)
    if not good or D.overflow then
        return answer('AMOUNT_OVERFLOW', { order = order_id }), false
    end
    local version, rows, changes, said, batch = step_version(), D.rows, {}, A.said, D.batch
    for i = 1, #rows do
        local item = rows[i]
        local was, row = item[3], item[4]
        local f, before = was and was[SAID] or {}, 'null'
        if was then
            before = '[' .. f[1] .. ',' .. f[2] .. ',' .. f[3] .. ',' .. f[4] .. ']'
        end
        for place = 1, batch and JOURNALLED or REVALUED do
            local figure = row[place]
            if not was or figure ~= was[place] then
                f[place] = text(figure)
            end
        end
        changes[i] = '[' .. quoted(item[1]) .. ',"' .. item[2] .. '",' .. before .. ',[' .. f[1] .. ','
            .. f[2] .. ',' .. f[3] .. ',' .. f[4] .. ']]'
        item[5] = f
    end
    if flags and flags ~= '' then
        detail('flags', '[' .. flags .. ']')
    end
    local balance = D.balance == A.balance and said[3] or text(D.balance)
    local pnl = D.pnl == A.pnl and said[4] or text(D.pnl)
    local executed_text = executed == A.executed and said[5] or text(executed)
    local all_text = all == A.all and said[6] or text(all)
    local more = D.more
    if balance ~= said[3] then
        more[#more + 1] = 'balance'
        more[#more + 1] = balance
    end
    if pnl ~= said[4] then
        more[#more + 1] = 'open_pnl'
        more[#more + 1] = pnl
    end
    if executed_text ~= said[5] then
        more[#more + 1] = 'used_margin_executed'
        more[#more + 1] = executed_text
    end
    local moved = A.totals .. ',[' .. balance .. ',' .. (counted == D.pnl and pnl or '0') .. ',' .. executed_text .. ','
        .. all_text .. ']'
    if order_id and not D.timed then
        D.answer = '["' .. code .. '","' .. op .. '",' .. version .. ',' .. moved .. ',' .. quoted(order_id) .. ','
            .. optional(state) .. ',[' .. (flags or '') .. ']]'
    end
    local records = A.records + D.added + (D.timed and 1 or 0) - D.forgotten
    local record = '[' .. version .. ',' .. now_text .. ',"' .. op .. '",' .. quoted(ident) .. ',' .. (order_id and quoted(order_id) or '""')
        .. ',"' .. code .. '",' .. moved .. ',[' .. concat(changes, ',') .. '],[' .. concat(D.orders, ',') .. '],['
        .. D.details .. '],' .. optional(state) .. ',[' .. (refused or '') .. ']]'
    call('XADD', JOURNAL, version .. '-0', 'r', record)
    local stood = D.stood
    if batch then
        batch.stood = fmod(batch.stood + (stood or 0), WRAP)
        for i = 1, #rows do
            local item = rows[i]
            item[4][SAID] = item[5]
            batch.rows[row_field(item[1], item[2])] = item
        end
        said[2], said[3], said[4], said[5], said[6] = version, balance, pnl, executed_text, all_text
        A.version, A.balance, A.pnl, A.counted, A.executed, A.all = A.version + 1, D.balance, D.pnl, counted, executed, all
        A.live, A.records, A.totals = D.live, records, sub(moved, #A.totals + 2)
    else
        local live, records = D.live == A.live and said[7] or text(D.live), records == A.records and said[13] or text(records)
        --<account>--
    end
    for request_id, entry in pairs(D.entries or {}) do
        if entry[2] > 0 then
            call('HSET', WAITING, request_id, entry[1] .. ' ' .. text(entry[2]))
        else
            call('HDEL', WAITING, request_id)
            call('XACK', OUTBOX, 'workers', entry[1] .. '-0')
            call('XDEL', OUTBOX, entry[1] .. '-0')
        end
    end
    if rates_out then
        call('ZREM', RATES, unpack(rates_out))
    end
    if rates_in then
        call('ZADD', RATES, unpack(rates_in))
    end
    return 'O' .. A.said[SCALE] .. record, true
end
