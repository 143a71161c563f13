-- Refuse growth from now on, or lift that. ARGV 9 1: refuse

local refused = away or gate()
if refused then
    return refused
end
local status = status_of(ARGV[9] == '1', recovering())
D.more = { 'status', status }
detail('status', quoted(status))
local reply, written = finish('OK')
if written then
    remember_request(step_version())
end
return reply
