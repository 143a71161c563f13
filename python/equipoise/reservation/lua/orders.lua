-- One order: its record, its place in the indexes, and what trades and ends do to it.
-- Record user_holdings:{a}:<order id>, a hash; a figure that is zero, and a text that is empty, is absent.

local TERMINAL = { FILLED = true, REJECTED = true, CANCELLED = true, EXPIRED = true, CLOSED = true }
local EVENT = 'e:'
-- In the age index, a settled order that `archive` has looked at stands lower by this.
local SEEN = 4503599627370496

local function figure(value, what)
    return value and number(value, what) or 0
end

-- (lots still working, what they hold) of a live order once `filled` lots have traded. While an amendment is open the
-- venue may be working either version, so each figure is the larger one's.
local function standing(o, filled)
    local working = max(o.lots - filled, 0)
    local hold = held(o.hold_start, o.lots, working)
    if o.amend_lots > 0 then
        local amended = max(o.amend_lots - filled, 0)
        hold = max(hold, held(o.amend_hold, o.amend_lots, amended))
        working = max(working, amended)
    end
    return working, hold
end

local function load_order(key, order_id, event)
    local got = call(
        'HMGET', key, 'symbol', 'leg', 'side', 'lots', 'hold_start', 'reduces', 'owner', 'order_type', 'deadline_us',
        'good_till_us', 'state', 'reserved_margin', 'filled', 'released', 'overfilled', 'open_lots', 'margin',
        'released_margin', 'flags', 'reason', 'venue_id', 'cancel_deadline_us', 'seq', EVENT .. event, 'price_ticks',
        'outbox', 'request_id', 'version', 'created_us', 'changed_us', 'amend_id'
    )
    if not got[1] then
        if got[4] or got[11] then
            corrupt('order ' .. order_id)
        end
        return nil
    end
    local lots, filled, released = number(got[4], 'lots'), figure(got[13], 'filled'), figure(got[14], 'released')
    local amend_lots, amend_hold, amend_price_ticks, amend_deadline = 0, 0, 0, nil
    if got[31] then
        local amended = call('HMGET', key, 'amend_lots', 'amend_hold', 'amend_price_ticks', 'amend_deadline_us')
        amend_lots, amend_hold = figure(amended[1], 'amend_lots'), figure(amended[2], 'amend_hold')
        amend_price_ticks, amend_deadline = figure(amended[3], 'amend_price_ticks'), amended[4]
    end
    if lots < 1 or filled + released > max(lots, amend_lots) or (got[3] ~= 'bid' and got[3] ~= 'ask') then
        corrupt('order ' .. order_id)
    end
    -- Written back as they are; when the next answer is due is computed of them once the journal has been written.
    figure(got[9], 'deadline_us')
    figure(got[22], 'cancel_deadline_us')
    figure(amend_deadline, 'amend_deadline_us')
    local seq = number(got[23], 'seq')
    local o = {
        key = key, id = order_id, symbol = got[1], leg = got[2] or '', bid = got[3] == 'bid', lots = lots,
        hold_start = figure(got[5], 'hold_start'), reduces = got[6] == '1', owner = got[7] or '',
        market = got[8] == 'market', deadline = got[9], good_till = got[10], state = got[11] or corrupt('state'),
        hold = figure(got[12], 'reserved_margin'), filled = filled, released = released, working = 0,
        over = figure(got[15], 'overfilled'), open = figure(got[16], 'open_lots'), margin = figure(got[17], 'margin'),
        given = figure(got[18], 'released_margin'), flags = got[19] or '', reason = got[20] or '', venue = got[21],
        cancel = got[22], seq = seq, event = got[24], price_ticks = figure(got[25], 'price_ticks'),
        amend_id = got[31], amend_lots = amend_lots, amend_hold = amend_hold, amend_price_ticks = amend_price_ticks,
        amend_deadline = amend_deadline, outbox = got[26], request = got[27],
        version = tonumber(got[28]) or (seq - fmod(seq, 1000)) / 1000, created = figure(got[29], 'created_us'),
        changed = figure(got[30] or got[29], 'changed_us'),
    }
    if not TERMINAL[o.state] then
        o.working = standing(o, filled)
    end
    return o
end

local function changed(o)
    -- Written out: a table of known size is made in one piece.
    return {
        key = o.key, id = o.id, symbol = o.symbol, leg = o.leg, bid = o.bid, lots = o.lots, hold_start = o.hold_start,
        reduces = o.reduces, owner = o.owner, market = o.market, deadline = o.deadline, good_till = o.good_till,
        state = o.state, hold = o.hold, filled = o.filled, released = o.released, working = o.working, over = o.over,
        open = o.open, margin = o.margin, given = o.given, flags = o.flags, reason = o.reason, venue = o.venue,
        cancel = o.cancel, seq = o.seq, price_ticks = o.price_ticks, amend_id = o.amend_id, amend_lots = o.amend_lots,
        amend_hold = o.amend_hold, amend_price_ticks = o.amend_price_ticks, amend_deadline = o.amend_deadline,
        outbox = o.outbox, request = o.request, version = o.version, created = o.created, changed = o.changed,
    }
end

local function terminal(o)
    return TERMINAL[o.state] ~= nil
end

local function is_unknown(o)
    return o.state == 'UNKNOWN'
end

-- The journalled part of an order.
local function snapshot(o)
    return format(
        '["%s",%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f]', o.state, o.hold, o.filled, o.working, o.released, o.over,
        o.open, o.margin, o.given
    )
end

local AWAITING = { RESERVED = true, SENT = true, UNKNOWN = true }

-- Journal a change; the first state that needs no sender settles the order's place in the outbox.
local function journal_order(was, o)
    local before, after = was and snapshot(was) or 'null', snapshot(o)
    D.orders[#D.orders + 1] = '[' .. quoted(o.id) .. ',' .. before .. ',' .. after .. ']'
    if was and not TERMINAL[was.state] then
        digest_of(o.id, before, -1)
    end
    if not TERMINAL[o.state] then
        digest_of(o.id, after, 1)
    end
    if o.outbox and not AWAITING[o.state] then
        o.outbox = nil
        settle_outbox(o.request, o.seq)
    end
end

-- The order once no amendment is open any more. Lots filled beyond the agreed quantity prove that the venue had taken
-- the amendment; then its terms stay.
local function without_amendment(o)
    if o.filled > o.lots then
        o.lots, o.hold_start, o.price_ticks = o.amend_lots, o.amend_hold, o.amend_price_ticks
    end
    o.amend_id, o.amend_deadline, o.amend_lots, o.amend_hold, o.amend_price_ticks = nil, nil, 0, 0, 0
end

-- Charge per lot that a resting order is counted with: the higher one while an amendment is open.
local function counted_rate(o)
    local rate = divide_up(o.hold_start, o.lots)
    return o.amend_lots > 0 and max(rate, divide_up(o.amend_hold, o.amend_lots)) or rate
end

-- When the order's next answer is due; nil where nothing is awaited. UNKNOWN always awaits one.
local function overdue_at(o, changed_us)
    if TERMINAL[o.state] then
        return nil
    elseif o.state == 'RESERVED' or o.state == 'SENT' then
        return tonumber(o.deadline or 0)
    end
    local first = math.min(tonumber(o.cancel or math.huge), tonumber(o.amend_deadline or math.huge))
    if o.state == 'UNKNOWN' then
        -- What is asked of it puts nothing off.
        first = math.min(first, tonumber(o.deadline or 0), changed_us)
    end
    return first < math.huge and first or nil
end

-- (order_status, execution_status): the names of the stored record.
local function wire(o)
    if o.state == 'CLOSED' then
        return 'CLOSED', 'EXECUTED'
    elseif o.filled + o.over > 0 then
        return 'OPEN', 'EXECUTED'
    elseif o.state == 'REJECTED' then
        return 'REJECTED', 'REJECTED'
    elseif TERMINAL[o.state] then
        return 'CANCELLED', 'CANCELLED'
    elseif o.state == 'LIVE' and not o.market then
        return 'PENDING', 'PENDING'
    end
    return 'QUEUED', 'QUEUED'
end

-- Score in the age index: when an answer is due, or minus the time since which it is settled; nil where neither. That
-- time by a clock far ahead stops short of where those begin that an archive has looked at.
local function due(o, changed_us)
    if TERMINAL[o.state] then
        return o.open == 0 and text(0 - math.min(max(changed_us, 1), SEEN - 1)) or nil
    end
    local at = overdue_at(o, changed_us)
    return at and text(max(at, 1)) or nil
end

-- Names of stored fields, each with that of the figure or text in memory.
local FIGURES = {
    'reserved_margin', 'hold', 'filled', 'filled', 'released', 'released', 'overfilled', 'over', 'open_lots', 'open',
    'margin', 'margin', 'released_margin', 'given', 'lots', 'lots', 'hold_start', 'hold_start', 'price_ticks',
    'price_ticks', 'amend_lots', 'amend_lots', 'amend_hold', 'amend_hold', 'amend_price_ticks', 'amend_price_ticks',
}

local TEXTS = {
    'flags', 'flags', 'reason', 'reason', 'venue_id', 'venue', 'cancel_deadline_us', 'cancel', 'amend_id', 'amend_id',
    'amend_deadline_us', 'amend_deadline', 'outbox', 'outbox',
}

-- Write what a step changed of an order; `was` nil: a new record. After `event`: names and texts that are written too.
local function put_order(was, o, event, ...)
    local status, execution = wire(o)
    local set = {
        'state', o.state, 'order_status', status, 'execution_status', execution, 'changed_us', now_text, 'version',
        step_version(), ...
    }
    local n, gone = #set, {}
    for i = 1, #FIGURES, 2 do
        local name = FIGURES[i + 1]
        local value = o[name]
        if not was or was[name] ~= value then
            if value ~= 0 then
                set[n + 1], set[n + 2] = FIGURES[i], text(value)
                n = n + 2
            elseif was then
                gone[#gone + 1] = FIGURES[i]
            end
        end
    end
    for i = 1, #TEXTS, 2 do
        local name = TEXTS[i + 1]
        local value, before = o[name] or '', was and was[name] or ''
        if value ~= before then
            if value ~= '' then
                set[n + 1], set[n + 2] = TEXTS[i], value
                n = n + 2
            else
                gone[#gone + 1] = TEXTS[i]
            end
        end
    end
    if event then
        set[n + 1], set[n + 2] = EVENT .. ident, print_ .. '\31' .. D.answer
    end
    call('HSET', o.key, unpack(set))
    if gone[1] then
        call('HDEL', o.key, unpack(gone))
    end
    if not was or TERMINAL[was.state] ~= TERMINAL[o.state] then
        call('ZADD', ORDERS, text(TERMINAL[o.state] and 0 - o.seq or o.seq), o.id)
    end
    local score = due(o, now)
    if score then
        call('ZADD', DUE, score, o.id)
    elseif was then
        call('ZREM', DUE, o.id)
    end
end

-- Keys that are written without being read: a wrong type must show before the first write.
local function check_indexes()
    call('ZCARD', ORDERS)
    call('ZCARD', DUE)
end

-- The answer to an event id that was used before: "<fingerprint>\31<answer>". It lives as long as the order does.
local function again_event(kept)
    local first, said = match(kept, '^(.-)\31(.*)$')
    if not first then
        corrupt('event ' .. ident)
    end
    if first ~= print_ then
        return answer('REQUEST_CONFLICT')
    end
    if ARGV[4] == '1' then
        call('HSET', PORTFOLIO, 'version', text(A.version))
    end
    return 'E' .. A.said[SCALE] .. said
end

-- KEYS 13 record of the order. ARGV 7 the id as given   8 the order it is an alias of, or empty   9 expected version or
-- empty
-- The order of an event, or nil; and the answer that ends the step, where there is one already. `is_news`, optional:
-- whether an id that was used before says something that is not so any more.
local function find_order(is_news)
    local moved = away
    if moved or not A then
        return nil, moved
    end
    local name = ARGV[8] ~= '' and ARGV[8] or ARGV[7]
    if name ~= ARGV[7] and call('HGET', ALIASES, ARGV[7]) ~= name then
        return nil, 'K'
    end
    local o = load_order(KEYS[RECORD], name, ident)
    if not o then
        local alias = name == ARGV[7] and call('HGET', ALIASES, name)
        return nil, alias and 'K' .. alias or nil
    end
    if o.event and not (is_news and is_news(o)) then
        return nil, again_event(o.event)
    end
    check_indexes()
    return o
end

-- The order of an event, or nil and the answer that ends the step. `first`, optional: a code that comes before whatever
-- there is to say of the order, unless the id has been used before.
local function event_order(is_news, first)
    local o, ended = find_order(is_news)
    if ended then
        return nil, ended
    elseif not A then
        return nil, answer('ACCOUNT_NOT_FOUND')
    elseif first then
        return nil, answer(first)
    elseif not o then
        return nil, answer('ORDER_NOT_FOUND')
    elseif ARGV[9] ~= '' and tonumber(ARGV[9]) ~= o.version then
        return nil, answer('ILLEGAL_TRANSITION', { order = o.id, state = o.state })
    end
    return o
end

-- Id of the order, if any, that a name stands for already. KEYS 14 record of an order of that name
local function known_as(name)
    local of = call('HGET', ALIASES, name)
    local kind = call('TYPE', KEYS[RECORD + 1]).ok
    if kind ~= 'none' and kind ~= 'hash' then
        corrupt('order ' .. name)
    end
    return kind == 'hash' and name or of or nil
end

local function put_alias(alias, o)
    call('HSET', ALIASES, alias, o.id)
    call('HSET', o.key, 'a:' .. alias, '1')
end

local function load_row(symbol, leg)
    local was = row_of(call('HGET', SYMBOLS, row_field(symbol, leg)))
    return was, row_after(was)
end

-- Whether an order's lots and charge count: not those of one that can only reduce and therefore holds nothing.
local function is_counted(o)
    return not o.reduces or o.hold_start > 0 or o.amend_hold > 0
end

-- Less of an order resting. Where that is more than rests in all, the totals are lost or are those of another order.
local function less_resting(row, o, hold, lots)
    local hold_at = o.bid and HOLD_BIDS or HOLD_ASKS
    row[hold_at] = row[hold_at] - hold
    if o.reduces then
        local reduce_at = o.bid and REDUCE_BID or REDUCE_ASK
        row[reduce_at] = row[reduce_at] - lots
    end
    if is_counted(o) then
        local lots_at = o.bid and BID_LOTS or ASK_LOTS
        row[lots_at] = row[lots_at] - lots
    end
    for place = HOLD_BIDS, REDUCE_ASK do
        if row[place] < 0 then
            corrupt('less of ' .. o.symbol .. ' rests than of ' .. o.id)
        end
    end
end

-- `later`: the caller renews the symbol's highest rate, once for many orders.
local function order_rate_less(row, o, later)
    if A.combine == 'larger_leg' and is_counted(o) then
        rate_less(rate_member('orders', o.symbol, counted_rate(o), o.id))
        if not later then
            row[RATE_ORDERS] = rate_top('orders', o.symbol, 0)
        end
    end
end

-- What an owner that holds `owned` does after a change. Where that is less than one order does, the sum is lost.
local function owned_with(owner, owned, change)
    if owned + change < 0 then
        corrupt(owner .. ' owns less than an order of its own holds')
    end
    return owned + change
end

-- What an owner holds after a change; nil: nothing to write.
local function owned_after(owner, change)
    if owner == '' or change == 0 then
        return nil
    end
    local owned = owned_with(owner, figure(call('HGET', OWNERS, owner), 'owner'), change)
    D.overflow = owned > MOST
    return text(owned)
end

-- What an order has given back, and gives back now: no fact is refused because that has been told often enough.
local function given_back(was, hold)
    return math.min(was.given + hold, MOST)
end

-- Release what an order still holds and give it a terminal state. `o` is changed, `was` is what it was; `later` as in
-- order_rate_less.
local function end_order(was, o, row, state, reason, later)
    less_resting(row, was, was.hold, was.working)
    order_rate_less(row, was, later)
    o.state, o.reason, o.cancel = state, reason, nil
    o.hold, o.working = 0, 0
    if was.amend_lots > 0 then
        without_amendment(o)
    end
    o.released = o.lots - was.filled
    o.given = given_back(was, was.hold)
    journal_order(was, o)
    D.live = D.live - 1
end

-- Whether a reason is what a refusal leaves; no other end leaves one like it, whatever it was given.
local function of_refusal(reason)
    return reason == 'rejected' or sub(reason, 1, 10) == 'rejected: '
end

-- (terminal state, reason): a refusal after a fill only ends the remainder.
local function end_of(o, asked, reason)
    if asked ~= 'REJECTED' then
        return asked, of_refusal(reason) and string.lower(asked) .. ': ' .. reason or reason
    end
    reason = reason ~= '' and 'rejected: ' .. reason or 'rejected'
    return (o.filled + o.over > 0) and 'CANCELLED' or 'REJECTED', reason
end

local function pro_rata(amount, lots, left)
    return amount >= 0 and held(amount, lots, left) or 0 - held(0 - amount, lots, left)
end

-- Exchange a ticket's rate when it grows (lots > 0) or shrinks.
local function ticket_rate(row, o, lots, margin)
    if o.open ~= 0 then
        rate_less(rate_member('tickets', o.symbol, divide_up(o.margin, o.open), o.id))
    end
    local best = 0
    if o.open + lots ~= 0 then
        best = divide_up(o.margin + margin, o.open + lots)
        rate_more(rate_member('tickets', o.symbol, best, o.id))
    end
    row[RATE_TICKETS] = rate_top('tickets', o.symbol, best)
end

-- Move position and balance by lots that traded; `margin` is for the lots that open, `pnl` nil where missing.
-- Changes `row` and `o`; returns lots that opened, margin taken, flags (a list), whether the result was missing.
local function trade(row, o, lots, margin, pnl, fee)
    local flags, closed, open_pnl = {}, 0, row[OPEN_PNL]
    local size = row[LOTS] < 0 and 0 - row[LOTS] or row[LOTS]
    local signed = o.bid and lots or 0 - lots
    if A.positions == 'tickets' then
        if A.combine == 'larger_leg' then
            ticket_rate(row, o, lots, margin)
        end
        o.open, o.margin = o.open + lots, o.margin + margin
        row[MARGIN] = row[MARGIN] + margin
        local side = o.bid and LONG or SHORT
        row[side] = row[side] + lots
    else
        if (o.bid and row[LOTS] < 0) or (not o.bid and row[LOTS] > 0) then
            closed = lots < size and lots or size
        end
        local kept = row[MARGIN]
        if closed > 0 then
            kept = held(kept, size, size - closed)
            open_pnl = pro_rata(open_pnl, size, size - closed)
            if closed == size then
                -- A mark or a margin from before is not for the next position, which begins with no open result.
                row[MARKED] = replaces(now, row[MARKED]) and now or row[MARKED]
                row[REVALUED] = replaces(now, row[REVALUED]) and now or row[REVALUED]
            end
        end
        if closed < lots then
            kept = kept + margin
        elseif margin > 0 then
            flags[1] = 'margin_ignored'
            margin = 0
        end
        row[MARGIN] = kept
    end
    D.pnl = sum(D.pnl, open_pnl, 0 - row[OPEN_PNL])
    row[LOTS], row[OPEN_PNL] = row[LOTS] + signed, open_pnl
    if A.positions ~= 'tickets' and o.leg ~= '' and row[LOTS] ~= 0 and (row[LOTS] > 0) ~= (o.leg == 'long') then
        flags[#flags + 1] = 'leg_overshoot'
    end
    local missing = not pnl and closed > 0
    if missing then
        flags[#flags + 1] = 'pnl_missing'
    end
    D.balance = sum(D.balance, pnl or 0, 0 - fee)
    detail('lots', text(lots))
    detail('margin', text(margin))
    detail('realised_pnl', pnl and text(pnl) or 'null')
    detail('fee', text(fee))
    return lots - closed, margin, flags, missing
end

local function flags_json(flags)
    return flags[1] and '"' .. concat(flags, '","') .. '"' or ''
end

-- The flags of an order with those of a step: sorted, each once.
local function joined_flags(old, flags)
    local seen, out = {}, {}
    for flag in string.gmatch(old, '%S+') do
        seen[flag] = true
        out[#out + 1] = flag
    end
    for _, flag in ipairs(flags) do
        if not seen[flag] then
            seen[flag] = true
            out[#out + 1] = flag
        end
    end
    table.sort(out)
    return concat(out, ' ')
end
