-- Move a position's margin to what the venue holds for it now. ARGV 9 symbol   10 leg   11 margin   12 as_of_us
--      13 scale of the margin

local refused = away or other_scale(ARGV[13]) or gate()
if refused then
    return refused
end
local symbol, leg, margin, as_of = ARGV[9], ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12])
if A.positions == 'tickets' or (A.positions == 'hedge') ~= (leg ~= '') then
    return answer('TERMS_INVALID')
end
local field = row_field(symbol, leg)
local was = row_of(call('HGET', SYMBOLS, field))
local row = row_after(was)
if row[LOTS] == 0 and margin > 0 then
    return answer('ILLEGAL_TRANSITION')
end
local older = not replaces(as_of, row[REVALUED])
if older or (margin == row[MARGIN] and ident == '') then
    if not older and row[REVALUED] ~= as_of and row[LOTS] ~= 0 then
        row[REVALUED] = as_of
        call('HSET', SYMBOLS, field, format(ROW_OUT, unpack(row)))
    end
    return answer('OK', { flags = older and '"older"' or '' })
end
row[MARGIN], row[REVALUED] = margin, as_of
put_row(symbol, leg, was, row)
local reply, written = finish('OK')
if written then
    remember_request(step_version())
end
return reply
