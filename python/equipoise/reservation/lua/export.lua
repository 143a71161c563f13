-- Note up to which version the journal is stored elsewhere; forward only, not journalled. ARGV 7 the version

local moved = away
if moved then
    return moved
end
if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
local version = tonumber(ARGV[7])
if version > A.version then
    return answer('ILLEGAL_TRANSITION')
end
if version > more_of('exported_version') then
    call('HSET', PORTFOLIO, 'exported_version', text(version))
end
return answer('OK')
