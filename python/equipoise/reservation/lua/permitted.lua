-- Those of the named commands that the user may not run. None of them is run, and nothing is written.
-- KEYS none: of the keys that a step declares, the server tries all before the step begins
-- ARGV names of commands

local denied = {}
for place = 1, #ARGV do
    if not redis.acl_check_cmd(ARGV[place]) then
        denied[#denied + 1] = ARGV[place]
    end
end
return denied
