-- Take in open profit or loss; ordered by as_of, not journalled, never touches used margin.
-- ARGV 7 as_of_us   8 scale of the values   9, 10, … symbol field and value, in pairs

local PIECE = 1000

local refused = away or other_scale(ARGV[8])
if refused then
    return refused
end
if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
local as_of, older, none, writes = tonumber(ARGV[7]), false, false, {}
-- On the way the sum may leave the range in which doubles are exact, so it is kept in two parts.
local PART = 134217728
local high, low = 0, 0
local function add(amount, sign)
    local rest = fmod(amount, PART)
    high, low = high + sign * ((amount - rest) / PART), low + sign * rest
end
add(A.pnl, 1)
for i = 9, #ARGV, 2 do
    local row = row_of(call('HGET', SYMBOLS, ARGV[i]))
    if not row or not has_position(row) then
        none = true
    elseif not replaces(as_of, row[MARKED]) then
        older = true
    else
        local value = tonumber(ARGV[i + 1])
        add(value, 1)
        add(row[OPEN_PNL], -1)
        row[OPEN_PNL], row[MARKED] = value, as_of
        writes[#writes + 1] = ARGV[i]
        writes[#writes + 1] = format(ROW_OUT, unpack(row))
    end
end
local pnl = high * PART + low
local counted = (pnl < 0 or A.all_pnl) and pnl or 0
local free = sum(A.balance, counted, 0 - A.all)
if pnl > MOST or pnl < -MOST or free > MOST or free < -MOST then
    return answer('AMOUNT_OVERFLOW')
end
local flags = (none and '"no_position"' or '') .. (none and older and ',' or '') .. (older and '"older"' or '')
if writes[1] then
    -- Lua puts what it unpacks on a stack of some eight thousand places.
    for i = 1, #writes, PIECE do
        call('HSET', SYMBOLS, unpack(writes, i, math.min(i + PIECE - 1, #writes)))
    end
    call('HSET', PORTFOLIO, 'open_pnl', text(pnl))
end
return answer('OK', { flags = flags, after = totals_text(A.balance, counted, A.executed, A.all) })
