-- One reservation: margin for a whole ladder, all of it, or what fits in the caller's order.
-- What is asked is in `word` from `at` on, see reserve.lua; the records of the `count` orders are in KEYS from `key` + 1 on.

local best_effort, in_micros, outbox, at_scale, terms_version, owner, state, order_type, deadline, good_till
at, best_effort, in_micros, outbox, plain, at_scale, terms_version, owner, state, order_type, deadline, good_till =
    cmsgpack.unpack_limit(word, 11, at)

local batch = D and D.batch
-- As other_scale() does: one function less to make for every reservation.
local refusal = away or (A and at_scale ~= '' and at_scale ~= A.said[SCALE] and 'S' .. A.said[SCALE]) or gate()
    -- The id was archived, its entry still waits for an answer: a second one under it could not be told apart.
    or (outbox and (batch and batch.waiting[ident] or not batch and call('HEXISTS', WAITING, ident) == 1)
        and answer('REQUEST_CONFLICT')) or growth_gate()
if refusal then
    return refusal
end
local limits = A.limits

-- Read: which ids are taken, and the symbols' totals.
if not batch then
    call('ZCARD', ORDERS)
    call('ZCARD', DUE)
end
-- `ids`: where it is to be asked whether they are aliases.
local asks, ids, fields, lines = {}, not (batch and batch.aliased) and {}, {}, {}
for i = 1, count do
    local side, lots, lots_text, ticks, hold, hold_text, reduce, leg, symbol, id
    at, side, lots, lots_text, ticks, hold, hold_text, reduce, leg, symbol, id = cmsgpack.unpack_limit(word, 10, at)
    local field = row_field(symbol, leg)
    if not lines[field] then
        lines[field] = true
        fields[#fields + 1] = field
    end
    asks[i] = {
        bid = side == 'bid', side = side, lots = lots, lots_text = lots_text, ticks = ticks, hold = hold,
        hold_text = hold_text, reduce = reduce, leg = leg, symbol = symbol, id = id, field = field, reduces = false,
    }
    if ids then
        ids[i] = id
    end
end
local aliased = batch and batch.aliased or call('HMGET', ALIASES, unpack(ids))
local taken = batch and batch.taken or call('EXISTS', unpack(KEYS, key + 1, key + count))
local packed = batch and #fields == 1 and batch.rows[fields[1]] and fields or call('HMGET', SYMBOLS, unpack(fields))
local owned = owner ~= '' and number(call('HGET', OWNERS, owner) or '0', 'owner') or 0
local owner_most = limits and limits.owner_margin_max and limits.owner_margin_max[owner]
if A.combine == 'larger_leg' then
    call('ZCARD', RATES)
end

local is_stale = limits and stale()
local terms_changed = terms_version ~= '' and terms_version ~= A.said[TERMS_VERSION]
local free = sum(A.balance, A.counted, 0 - A.all)
local all, live = A.all, A.live
local holds = 0
local granted, refused, worst = {}, {}, nil
-- By field: what D.rows takes of a symbol, and its part of used_margin_all at [6].
for i, field in ipairs(fields) do
    local known = batch and batch.rows[field]
    local was = known and known[4] or row_of(packed[i])
    lines[field] = { '', '', was, row_after(was), '', known and known[6] or false }
end
local rate_of = A.combine == 'larger_leg'

-- First limit of the terms, in order of precedence, that an order meets; nil: none.
local limit_met
if limits then
    function limit_met(ask, after, hold, rise, reduces, counts)
        local most = limits.position_lots_max and limits.position_lots_max[ask.symbol]
        if most and reach(after, ask.bid, reduces, counts) > most then
            return 'POSITION_LIMIT'
        end
        if (limits.orders_max and live >= limits.orders_max)
            or (limits.records_max and A.records + 1 + live - A.live >= limits.records_max)
            or (limits.order_margin_max and hold > limits.order_margin_max)
            or (limits.margin_max and rise > 0 and all + rise > limits.margin_max) then
            return 'ORDER_LIMIT'
        end
        if owner_most and hold > 0 and owned + holds + hold > owner_most then
            return 'OWNER_LIMIT'
        end
        return nil
    end
end

-- Judge each order, and take it in when nothing forbids it.
for i = 1, count do
    local ask = asks[i]
    -- `beyond`: refused by a limit, which a ladder that is held whole or not at all meets as a whole.
    local code, rise, beyond = nil, 0, false
    if aliased[i] then
        code = 'ORDER_EXISTS'
    elseif taken > 0 and call('EXISTS', KEYS[key + i]) > 0 then
        if call('TYPE', KEYS[key + i]).ok ~= 'hash' then
            corrupt('order ' .. ask.id)
        end
        code = 'ORDER_EXISTS'
    elseif (in_micros and A.said[SCALE] ~= '6') or (A.positions == 'hedge') ~= (ask.leg ~= '')
        or (ask.reduce and A.positions == 'tickets') then
        code = 'TERMS_INVALID'
    else
        local line, bid = lines[ask.field], ask.bid
        local row = line[4]
        local hold, reduces = ask.hold, ask.reduce or (A.positions == 'hedge' and (ask.leg == 'long') ~= bid)
        local counts, reduce_at, reduce_before = true, nil, nil
        if reduces then
            -- Nothing while all that may only reduce, by its mark or by closing a leg, fits the position.
            reduce_at = bid and REDUCE_BID or REDUCE_ASK
            reduce_before = row[reduce_at]
            row[reduce_at] = reduce_before + ask.lots
            if row[reduce_at] <= (bid and 0 - row[LOTS] or row[LOTS]) then
                hold = 0
            end
            -- One that does not fit holds its charge, and counts like any other.
            counts = hold > 0
        end
        local hold_at, lots_at = bid and HOLD_BIDS or HOLD_ASKS, bid and BID_LOTS or ASK_LOTS
        local held_before, lots_before, rate_before = row[hold_at], row[lots_at], row[RATE_ORDERS]
        local was_all, now_all, _ = line[6], nil, nil
        if not was_all then
            _, was_all = requirement(row)
        end
        row[hold_at] = held_before + hold
        if counts then
            row[lots_at] = lots_before + ask.lots
        end
        if rate_of and counts then
            row[RATE_ORDERS] = max(rate_before, divide_up(hold, ask.lots))
        end
        _, now_all = requirement(row)
        rise = now_all - was_all
        -- Every other figure is as it was.
        if all + rise > MOST or row[hold_at] > MOST or row[lots_at] > MOST or (reduces and row[reduce_at] > MOST) then
            code = 'AMOUNT_OVERFLOW'
        elseif best_effort and free - (all - A.all) - rise < 0 - MOST then
            code = 'AMOUNT_OVERFLOW'
        elseif is_stale and counts then
            code, beyond = 'STALE_MARK', true
        elseif limits then
            code = limit_met(ask, row, hold, rise, reduces, counts)
            beyond = code ~= nil
        end
        if not code and best_effort and rise > 0 and free - (all - A.all) < rise then
            code = 'INSUFFICIENT_MARGIN'
        end
        if code and (best_effort or not beyond) then
            row[hold_at], row[lots_at], row[RATE_ORDERS] = held_before, lots_before, rate_before
            if reduces then
                row[reduce_at] = reduce_before
            end
            line[6] = was_all
        else
            if line[1] == '' then
                line[1], line[2] = ask.symbol, ask.leg
                D.rows[#D.rows + 1] = line
            end
            line[6] = now_all
            all, live, holds = all + rise, live + 1, holds + hold
            if hold ~= ask.hold then
                ask.hold, ask.hold_text = hold, '0'
            end
            ask.reduces = reduces
        end
    end
    if terms_changed and code ~= 'ORDER_EXISTS' then
        code = 'TERMS_CHANGED'
    end
    if not code then
        granted[#granted + 1] = i
    else
        -- Codes of an order in order of precedence.
        local precedence = 'ORDER_EXISTS TERMS_CHANGED TERMS_INVALID AMOUNT_OVERFLOW STALE_MARK POSITION_LIMIT '
            .. 'ORDER_LIMIT OWNER_LIMIT INSUFFICIENT_MARGIN'
        if not worst or find(precedence, code, 1, true) < find(precedence, worst, 1, true) then
            worst = code
        end
        local asked = code == 'INSUFFICIENT_MARGIN'
        refused[#refused + 1] = { i, code, asked and rise or 0, asked and free - (all - A.all) or 0 }
    end
end

-- Refuse: nothing of the ladder is held; orders without a fault of their own carry the ladder's code.
local rise = all - A.all
if not best_effort and not worst and rise > 0 and free < rise then
    worst = 'INSUFFICIENT_MARGIN'
end
-- A figure of the account that would leave its range comes before limits and margin.
if not best_effort and worst and (worst == 'INSUFFICIENT_MARGIN' or worst == 'STALE_MARK' or find(worst, '_LIMIT$'))
    and (free - rise < 0 - MOST or free - rise > MOST or owner ~= '' and owned + holds > MOST) then
    worst = 'AMOUNT_OVERFLOW'
end
if (worst and not best_effort) or #granted == 0 then
    local own, out, required, met = {}, {}, nil, nil
    for _, item in ipairs(refused) do
        own[item[1]] = item
        if best_effort and not required and item[2] == worst and worst == 'INSUFFICIENT_MARGIN' then
            required, met = item[3], item[4]
        end
    end
    if worst == 'INSUFFICIENT_MARGIN' and not best_effort then
        required, met = rise, free
    end
    for i, ask in ipairs(asks) do
        local item = own[i] or { i, worst, 0, 0 }
        out[i] = '[' .. quoted(ask.id) .. ',"' .. item[2] .. '",0,' .. text(item[3]) .. ',' .. text(item[4]) .. ']'
    end
    return answer(worst, { rows = concat(out, ','), required = required and text(required), free = met })
end

-- Compute. Lists are made with room for what one order needs.
local version = step_version()
local names, orders = outbox and { '' }, { '' }
local due, opening = tonumber(deadline) < 1 and '1' or deadline, '["' .. state .. '",'
for n, i in ipairs(granted) do
    local ask = asks[i]
    local after, name = opening .. ask.hold_text .. ',0,' .. ask.lots_text .. ',0,0,0,0,0]', quoted(ask.id)
    if outbox then
        names[n] = name
    end
    orders[n] = '[' .. name .. ',null,' .. after .. ']'
    digest_of(ask.id, after, 1)
    if rate_of and (not ask.reduces or ask.hold > 0) then
        rate_more(rate_member('orders', ask.symbol, divide_up(ask.hold, ask.lots), ask.id))
    end
end
for n, item in ipairs(refused) do
    refused[n] = '[' .. text(item[1] - 1) .. ',' .. quoted(asks[item[1]].id) .. ',"' .. item[2] .. '",' .. text(item[3])
        .. ',' .. text(item[4]) .. ']'
end
D.live, D.added, D.orders = live, #granted, orders
-- Under rules that do not add up, an owner's holds may exceed what the account holds.
D.overflow = owner ~= '' and owned + holds > MOST
-- What every order is written with; the first four only where it holds anything.
local common = { 'hold_start', '', 'reserved_margin', '' }
if owner ~= '' then
    detail('owner', quoted(owner))
    common[5], common[6] = 'owner', owner
end
if outbox then
    detail('send', '"outbox"')
    if not batch then
        call('XLEN', OUTBOX)
    end
    common[#common + 1] = 'outbox'
    common[#common + 1] = '1'
end
if order_type ~= 'limit' then
    common[#common + 1] = 'order_type'
    common[#common + 1] = order_type
end
if good_till ~= '' then
    common[#common + 1] = 'good_till_us'
    common[#common + 1] = good_till
end

-- Write.
local reply, written = finish('OK', nil, nil, nil, concat(refused, ','), A.executed, all)
if not written then
    return reply
end
local places, dues = batch and batch.places or { '', '' }, batch and batch.dues or { '', '' }
local last = batch and #places or 0
for _, i in ipairs(granted) do
    local ask, record = asks[i], KEYS[key + i]
    -- A thousand times the version, and the place.
    local seq = version .. (i == 1 and '000' or format('%03.0f', i - 1))
    places[last + 1], places[last + 2], dues[last + 1], dues[last + 2] = seq, ask.id, due, ask.id
    last = last + 2
    common[2], common[4] = ask.hold_text, ask.hold_text
    call(
        'HSET', record, 'symbol', ask.symbol, 'side', ask.side, 'lots', ask.lots_text, 'price_ticks', ask.ticks, 'state',
        state, 'order_status', 'QUEUED', 'execution_status', 'QUEUED', 'created_us', now_text, 'deadline_us', deadline,
        'seq', seq, 'request_id', ident, unpack(common, ask.hold > 0 and 1 or 5)
    )
    if ask.leg ~= '' then
        call('HSET', record, 'leg', ask.leg)
    end
    if ask.reduces then
        call('HSET', record, 'reduces', '1', 'reduce_only', ask.reduce and '1' or '0')
    end
end
if outbox then
    call(
        'XADD', OUTBOX, version .. '-0', 'request_id', ident, 'created_us', now_text, 'deadline_us', deadline,
        'order_ids', '[' .. concat(names, ',') .. ']'
    )
end
if not batch then
    call('ZADD', ORDERS, unpack(places))
    call('ZADD', DUE, unpack(dues))
end
if owner ~= '' and holds > 0 then
    call('HSET', OWNERS, owner, text(owned + holds))
end
remember_request(version)
return reply
