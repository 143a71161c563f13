-- Deposit, withdraw or adjust the balance. ARGV 9 signed amount   10 kind   11 expected version or empty
--      12 scale of the amount

local refused = away or other_scale(ARGV[12]) or gate()
if refused then
    return refused
end
if ARGV[11] ~= '' and ARGV[11] ~= A.said[2] then
    return answer('ILLEGAL_TRANSITION')
end
local amount = tonumber(ARGV[9])
D.balance = D.balance + amount
if op == 'withdraw' then
    local _, _, _, _, good = next_totals()
    refused = growth_gate() or (not good and answer('AMOUNT_OVERFLOW')) or (stale() and answer('STALE_MARK'))
    if refused then
        return refused
    end
    -- Less than nothing is free where that is so, and missing as well; in the range of figures like every other.
    local room = max(sum(A.balance, A.pnl < 0 and A.pnl or 0, 0 - A.all), 0 - MOST)
    if 0 - amount > max(0, room) then
        return answer('INSUFFICIENT_MARGIN', { required = text(0 - amount), free = room })
    end
end
detail('amount', text(amount))
detail('kind', quoted(ARGV[10]))
local reply, written = finish('OK')
if written then
    remember_request(step_version())
end
return reply
