-- Shared by amend and settle_amend: an order that rests with other lots and another hold in the place of what rested.

-- Changes `row`; returns what the owner holds then, as text, or nil.
local function replace_resting(row, was, after)
    less_resting(row, was, was.hold - after.hold, was.working - after.working)
    if not was.reduces and A.combine == 'larger_leg' then
        local old, new = counted_rate(was), counted_rate(after)
        if after.working == 0 then
            rate_less(rate_member('orders', was.symbol, old, was.id))
            row[RATE_ORDERS] = rate_top('orders', was.symbol, 0)
        elseif old ~= new then
            rate_less(rate_member('orders', was.symbol, old, was.id))
            rate_more(rate_member('orders', was.symbol, new, was.id))
            row[RATE_ORDERS] = rate_top('orders', was.symbol, new)
        end
    end
    journal_order(was, after)
    return owned_after(was.owner, after.hold - was.hold)
end
