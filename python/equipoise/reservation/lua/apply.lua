-- Write a repair that was computed from everything the account had at one version, if it still has it.
-- KEYS 13, 14, … the repaired order's record, or all records when the indexes are written anew
-- ARGV 7 expected version   8 expected open_pnl   9 journal record   10 fields of user_portfolio   11 of user_symbols
--      12 fields of the order to set   13 to delete   14 indexes: owners, rates, outbox, or empty   15 user_base or empty
--      16, 17, … ids of the records (9-15 are JSON; lists of names and values in turn)

local moved = away
if moved then
    return moved
end
if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
if text(A.version) ~= ARGV[7] or text(A.pnl) ~= ARGV[8] then
    return answer('ILLEGAL_TRANSITION')
end
local fields, symbols, set, gone = {}, {}, {}, {}
for place, list in pairs({ [10] = fields, [11] = symbols, [12] = set, [13] = gone }) do
    for i, value in ipairs(cjson.decode(ARGV[place])) do
        list[i] = value
    end
end
local indexes = ARGV[14] ~= '' and cjson.decode(ARGV[14]) or nil
local base = ARGV[15] ~= '' and cjson.decode(ARGV[15]) or nil
local orders = {}
if indexes then
    for i = 16, #ARGV do
        orders[#orders + 1] = load_order(KEYS[RECORD + i - 16], ARGV[i], '') or corrupt('order ' .. ARGV[i])
    end
end
-- What is written without being read shows a wrong type before the first write.
local aliases = indexes and call('HGETALL', ALIASES)
call('HLEN', SYMBOLS)
if #KEYS >= RECORD then
    call('HLEN', KEYS[RECORD])
end
if not indexes then
    check_indexes()
end

call('XADD', JOURNAL, text(A.version + 1) .. '-0', 'r', ARGV[9])
call('HSET', PORTFOLIO, unpack(fields))
if symbols[1] then
    call('HSET', SYMBOLS, unpack(symbols))
end
if set[1] then
    call('HSET', KEYS[RECORD], unpack(set))
end
if gone[1] then
    call('HDEL', KEYS[RECORD], unpack(gone))
end
if set[1] and not indexes then
    local o = load_order(KEYS[RECORD], ARGV[16], '')
    local score = due(o, o.changed)
    call('ZADD', ORDERS, text(terminal(o) and 0 - o.seq or o.seq), o.id)
    if score then
        call('ZADD', DUE, score, o.id)
    else
        call('ZREM', DUE, o.id)
    end
end
if indexes then
    local there, keys = {}, {}
    -- Owners and rates stay where they are null: orders are lost whose part of them is still held.
    local owners, rates = indexes[1] ~= cjson.null and indexes[1], indexes[2] ~= cjson.null and indexes[2]
    call('DEL', ORDERS, DUE, OUTBOX, WAITING)
    if owners then
        call('DEL', OWNERS)
    end
    if rates then
        call('DEL', RATES)
    end
    for _, o in ipairs(orders) do
        there[o.id], keys[o.id] = true, o.key
        call('ZADD', ORDERS, text(terminal(o) and 0 - o.seq or o.seq), o.id)
        local score = due(o, o.changed)
        if score then
            call('ZADD', DUE, score, o.id)
        end
    end
    for _, pair in ipairs(owners or {}) do
        call('HSET', OWNERS, pair[1], pair[2])
    end
    for _, member in ipairs(rates or {}) do
        call('ZADD', RATES, '0', member)
    end
    for _, entry in ipairs(indexes[3]) do
        call(
            'XADD', OUTBOX, entry[1] .. '-0', 'request_id', entry[2], 'created_us', entry[3], 'deadline_us', entry[4],
            'order_ids', entry[5]
        )
        call('HSET', WAITING, entry[2], entry[1] .. ' ' .. entry[6])
    end
    for i = 1, #aliases, 2 do
        if not there[aliases[i + 1]] then
            call('HDEL', ALIASES, aliases[i])
        end
    end
    for _, pair in ipairs(indexes[4]) do
        put_alias(pair[1], { id = pair[2], key = keys[pair[2]] })
    end
end
if base then
    call('DEL', BASE)
    for i = 1, #base, 2 do
        call('HSET', BASE, base[i], base[i + 1])
    end
end
return 'O' .. A.said[SCALE] .. ARGV[9]
