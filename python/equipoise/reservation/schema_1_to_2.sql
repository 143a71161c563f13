-- Amendments, outbox, journal base: orders get their columns (a CHECK cannot be altered, so the table is made anew).

ALTER TABLE orders RENAME TO orders_1;
DROP INDEX orders_live;
-- place_made is the rowid: orders are listed in the order they were made.
CREATE TABLE orders (
    place_made INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
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
    UNIQUE (account_id, order_id),
    CHECK (filled + working + released = max(lots, amend_lots))
) STRICT;
CREATE INDEX orders_live ON orders (account_id, place_made)
    WHERE state IN ('RESERVED', 'SENT', 'LIVE', 'UNKNOWN');

INSERT INTO orders (
    place_made, account_id, order_id, symbol, leg, side, lots, price_ticks, scale, hold_start, reduce_only, reduces,
    order_type, owner, request_id, place, created_us, deadline_us, good_till_us, state, hold, filled, working,
    released, overfilled, open_lots, margin, hold_released, flags, reason, venue_id, cancel_deadline_us, changed_us,
    version, outbox, amend_id, amend_lots, amend_hold, amend_price_ticks, amend_deadline_us
) SELECT
    place_made, account_id, order_id, symbol, leg, side, lots, price_ticks, scale, hold_start, reduce_only, reduces,
    order_type, owner, request_id, place, created_us, deadline_us, good_till_us, state, hold, filled, working,
    released, overfilled, open_lots, margin, hold_released, flags, reason, venue_id, cancel_deadline_us, changed_us,
    version, 0, NULL, 0, 0, 0, NULL
FROM orders_1 ORDER BY place_made;
DROP TABLE orders_1;

-- Orders of one request that somebody has to send; gone when the venue has answered for all of them.
CREATE TABLE outbox (
    account_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    deadline_us INTEGER NOT NULL,
    order_ids TEXT NOT NULL,
    open_orders INTEGER NOT NULL CHECK (open_orders > 0),
    PRIMARY KEY (account_id, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_by_version ON outbox (account_id, version);

-- What the journal said before its first record that is still here: totals, and the state of symbols and orders.
CREATE TABLE journal_base (
    account_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    totals TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE base_symbols (
    account_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    leg TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (account_id, symbol, leg)
) STRICT, WITHOUT ROWID;

CREATE TABLE base_orders (
    account_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (account_id, order_id)
) STRICT, WITHOUT ROWID;

ALTER TABLE accounts ADD COLUMN records INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN exported_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN trimmed_version INTEGER NOT NULL DEFAULT 0;
UPDATE accounts SET records =
    (SELECT count(*) FROM orders WHERE orders.account_id = accounts.account_id)
    + (SELECT count(*) FROM requests WHERE requests.account_id = accounts.account_id);
