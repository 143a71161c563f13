-- Orders are keyed by their id: a step on one touches one page of the table, and no page of an index that only finds it.

ALTER TABLE orders RENAME TO orders_2;
DROP INDEX orders_live;
-- Keyed by its id, so that a step on an order touches one page. Orders are listed by place_made, the version of the
-- account that made the order in the upper 31 bits and the order's place in that step in the lower 32.
CREATE TABLE orders (
    account_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    place_made INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    leg TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('bid', 'ask')),
    lots INTEGER NOT NULL CHECK (lots > 0),
    price_ticks INTEGER NOT NULL,
    scale INTEGER NOT NULL,
    hold_start INTEGER NOT NULL CHECK (hold_start >= 0),
    reduce_only INTEGER NOT NULL,
    reduces INTEGER NOT NULL,
    order_type TEXT NOT NULL,
    owner TEXT NOT NULL,
    request_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    deadline_us INTEGER NOT NULL,
    good_till_us INTEGER,
    state TEXT NOT NULL,
    hold INTEGER NOT NULL CHECK (hold >= 0),
    filled INTEGER NOT NULL CHECK (filled >= 0),
    working INTEGER NOT NULL CHECK (working >= 0),
    released INTEGER NOT NULL CHECK (released >= 0),
    overfilled INTEGER NOT NULL,
    open_lots INTEGER NOT NULL CHECK (open_lots >= 0),
    margin INTEGER NOT NULL CHECK (margin >= 0),
    hold_released INTEGER NOT NULL,
    flags TEXT NOT NULL,
    reason TEXT NOT NULL,
    venue_id TEXT,
    cancel_deadline_us INTEGER,
    outbox INTEGER NOT NULL,
    amend_id TEXT,
    amend_lots INTEGER NOT NULL CHECK (amend_lots >= 0),
    amend_hold INTEGER NOT NULL CHECK (amend_hold >= 0),
    amend_price_ticks INTEGER NOT NULL,
    amend_deadline_us INTEGER,
    changed_us INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (account_id, order_id),
    CHECK (filled + working + released = max(lots, amend_lots))
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_live ON orders (account_id, place_made)
    WHERE state IN ('RESERVED', 'SENT', 'LIVE', 'UNKNOWN');

-- The old place counted the orders of all accounts. Numbers from 1 within each account come before whatever is made next.
INSERT INTO orders (
    place_made,
    account_id, order_id, symbol, leg, side, lots, price_ticks, scale, hold_start, reduce_only, reduces,
    order_type, owner, request_id, place, created_us, deadline_us, good_till_us, state, hold, filled, working,
    released, overfilled, open_lots, margin, hold_released, flags, reason, venue_id, cancel_deadline_us, outbox,
    amend_id, amend_lots, amend_hold, amend_price_ticks, amend_deadline_us, changed_us, version
) SELECT
    row_number() OVER (PARTITION BY account_id ORDER BY place_made),
    account_id, order_id, symbol, leg, side, lots, price_ticks, scale, hold_start, reduce_only, reduces,
    order_type, owner, request_id, place, created_us, deadline_us, good_till_us, state, hold, filled, working,
    released, overfilled, open_lots, margin, hold_released, flags, reason, venue_id, cancel_deadline_us, outbox,
    amend_id, amend_lots, amend_hold, amend_price_ticks, amend_deadline_us, changed_us, version
FROM orders_2;
DROP TABLE orders_2;
