-- Hold margin for a whole ladder.
-- KEYS 13, 14, … records of the new orders
-- ARGV 9 in MessagePack, one value after the other (each argument of a call costs more than to part it here): true: best
--        effort, true: holds are micro-units, true: an outbox entry too, true: id, owner, order ids and symbols are JSON
--        between quotation marks as they are, scale of the holds where they are amounts or empty, terms version the
--        charges were computed under or empty, owner, first state, order type, deadline_us, good_till_us or empty; then of
--        each order side, lots, lots as text, ticks as text, hold, hold as text, true if reduce only, leg, symbol, order id

local word, at, count, key = ARGV[9], 0, #KEYS - RECORD + 1, RECORD - 1
--<reservation>--
