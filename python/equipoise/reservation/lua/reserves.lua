-- Reservations of one account that wait for one another, in one call: each is a step of its own, with its own id, answer
-- and journal record, and begins where the one before it has ended. One that meets a record it can make nothing of leaves
-- nothing behind, and does not keep the others from being done.
-- KEYS 13, 14, … records of the new orders of all of them
-- ARGV 5 1: one of them at least has an outbox entry
--      6, 7, … of each, in MessagePack: id, fingerprint, issued_us as text, not_after_us and the number of its orders, and
--        behind them what reserve.lua has in ARGV 9
-- The reply is a list: of each what reserve.lua would have answered, or its error.

local FIRST = 6
local batch, word, at, count
local key = RECORD - 1

local function reserve()
    --<reservation>--
end

-- What is kept under the ids, and whether a record may be there already.
local idents, outboxes, _ = {}, ARGV[5] == '1', nil
for place = FIRST, #ARGV do
    _, idents[place - FIRST + 1] = cmsgpack.unpack_limit(ARGV[place], 1)
end
batch = {
    rows = {}, requests = {}, kept = {}, waiting = {}, places = {}, dues = {}, stood = 0,
    taken = call('EXISTS', unpack(KEYS, RECORD)),
    -- Empty where the account has no alias, which is then not asked about for each; else nil.
    aliased = call('HLEN', ALIASES) == 0 and {} or nil,
}
for i, kept in ipairs(call('HMGET', REQUESTS, unpack(idents))) do
    batch.requests[idents[i]] = kept
end
if outboxes then
    call('XLEN', OUTBOX)
    for i, left in ipairs(call('HMGET', WAITING, unpack(idents))) do
        batch.waiting[idents[i]] = left
    end
end
local seen = {}
for place = RECORD, #KEYS do
    if seen[KEYS[place]] then
        batch.taken = 1
    end
    seen[KEYS[place]] = true
end
call('ZCARD', ORDERS)
call('ZCARD', DUE)

local replies, version = {}, A and A.version
for i = 1, #idents do
    word = ARGV[FIRST + i - 1]
    at, ident, print_, issued, not_after, count = cmsgpack.unpack_limit(word, 5)
    D = A and {
        balance = A.balance, pnl = A.pnl, live = A.live, rows = {}, details = '', more = {}, added = 0,
        forgotten = 0, timed = true, batch = batch,
    }
    rates_in, rates_out = nil, nil
    local done, reply = pcall(reserve)
    replies[i] = (done or type(reply) == 'table') and reply or { err = reply }
    key = key + count
end

-- Once for all of them.
if A and A.version > version then
    local said, stood, more, rows = A.said, batch.stood, {}, {}
    local version, all_text, live, records = said[2], said[6], text(A.live), text(A.records)
    for _, item in pairs(batch.rows) do
        rows[#rows + 1] = item
        for place = JOURNALLED + 1, REVALUED do
            item[5][place] = text(item[4][place])
        end
    end
    --<account>--
    call('ZADD', ORDERS, unpack(batch.places))
    call('ZADD', DUE, unpack(batch.dues))
    call('HSET', REQUESTS, unpack(batch.kept))
end
return replies
