-- Delete request ids issued at or before the watermark, after an archive. ARGV 7, 8, … candidates

if not A then
    return answer('ACCOUNT_NOT_FOUND')
end
for i = 7, #ARGV do
    local at = match(call('HGET', REQUESTS, ARGV[i]) or '', '^(%-?%d+) ')
    if at and tonumber(at) <= A.watermark then
        call('HDEL', REQUESTS, ARGV[i])
    end
end
return answer('OK')
