-- Hold margin for a whole ladder.
-- KEYS 13, 14, … records of the new orders
-- ARGV 9 how, parted by \31 (each argument of a call costs more than to part it here): 1: best effort, 1: holds are
--        micro-units, 1: an outbox entry too, terms version the charges were computed under or empty, owner, first state,
--        order type with the scale of the holds right behind it where they are amounts, deadline_us, good_till_us or
--        empty
--      10, 11, … one order each: side, lots, ticks, hold, 1 if reduce only, leg, symbol, order id, parted by \31

local how, count, key, told = ARGV[9], #ARGV - 9, RECORD - 1, 9
--<reservation>--
