-- Refuse growth from now on, or lift that. ARGV 9 the new status

local refused = away or gate()
if refused then
    return refused
end
D.more = { 'status', ARGV[9] }
detail('status', quoted(ARGV[9]))
local reply, written = finish('OK')
if written then
    remember_request(step_version())
end
return reply
