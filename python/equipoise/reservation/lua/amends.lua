-- Shared by amend and settle_amend: an order that rests with other lots and another hold in the place of what rested.

-- Changes `row`; returns what the owner holds then, as text, or nil.
local function replace_resting(row, was, after)
    less_resting(row, was, was.hold, was.working)
    less_resting(row, after, 0 - after.hold, 0 - after.working)
    if A.combine == 'larger_leg' then
        local old = was.working > 0 and is_counted(was) and counted_rate(was) or nil
        local new = after.working > 0 and is_counted(after) and counted_rate(after) or nil
        if old ~= new then
            if old then
                rate_less(rate_member('orders', was.symbol, old, was.id))
            end
            if new then
                rate_more(rate_member('orders', was.symbol, new, was.id))
            end
            row[RATE_ORDERS] = rate_top('orders', was.symbol, new or 0)
        end
    end
    journal_order(was, after)
    return owned_after(was.owner, after.hold - was.hold)
end
