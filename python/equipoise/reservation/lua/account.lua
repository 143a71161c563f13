-- What nearly every step writes of an account, put in where it is written: a function would be made with every call.
-- `version`, `all_text`, `live`, `records`: texts; `stood`: what came and went, of the digest, or nil; `more`: names and
-- texts of what few steps change; `rows`: of the symbols, with the texts of their figures at [5].
local digest = said[DIGEST]
if stood then
    stood = fmod(A.digest + stood, WRAP)
    digest = text(stood < 0 and stood + WRAP or stood)
end
call(
    'HSET', PORTFOLIO, 'version', version, 'used_margin_all', all_text, 'live_orders', live, 'changed_us', now_text,
    'records', records, 'digest', digest, unpack(more)
)
for i = 1, #rows do
    local item = rows[i]
    local f = item[5]
    -- Written out: twice as fast as table.concat.
    call(
        'HSET', SYMBOLS, row_field(item[1], item[2]), f[1] .. ' ' .. f[2] .. ' ' .. f[3] .. ' ' .. f[4] .. ' ' .. f[5] .. ' '
            .. f[6] .. ' ' .. f[7] .. ' ' .. f[8] .. ' ' .. f[9] .. ' ' .. f[10] .. ' ' .. f[11] .. ' ' .. f[12] .. ' '
            .. f[13] .. ' ' .. f[14] .. ' ' .. f[15]
    )
end
