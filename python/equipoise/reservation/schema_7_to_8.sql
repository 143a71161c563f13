-- Orders lie as they were made, with an index over their ids; and of a reservation that is held whole the journal's record
-- has the fingerprint, so that its id takes half the room. Outbox entries are sorted when they are read.

DROP INDEX outbox_by_version;
DROP INDEX orders_live;
ALTER TABLE orders RENAME TO orders_7;
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
    -- When the next answer is due (`BookOrder.overdue_us`); NULL where none is awaited.
    due_us INTEGER GENERATED ALWAYS AS (
        CASE
            WHEN state IN ('RESERVED', 'SENT') THEN deadline_us
            WHEN state = 'LIVE' THEN coalesce(
                min(cancel_deadline_us, amend_deadline_us), cancel_deadline_us, amend_deadline_us
            )
            WHEN state = 'UNKNOWN' THEN min(
                deadline_us, changed_us, ifnull(cancel_deadline_us, deadline_us), ifnull(amend_deadline_us, deadline_us)
            )
        END
    ) VIRTUAL,
    PRIMARY KEY (account_id, place_made),
    CHECK (filled + working + released = max(lots, amend_lots))
) STRICT, WITHOUT ROWID;
INSERT INTO orders (
    account_id, order_id, place_made, symbol, leg, side, lots, price_ticks, scale, hold_start, reduce_only,
    reduces, order_type, owner, request_id, place, created_us, deadline_us, good_till_us, state, hold, filled,
    working, released, overfilled, open_lots, margin, hold_released, flags, reason, venue_id,
    cancel_deadline_us, outbox, amend_id, amend_lots, amend_hold, amend_price_ticks, amend_deadline_us,
    changed_us, version
) SELECT
    account_id, order_id, place_made, symbol, leg, side, lots, price_ticks, scale, hold_start, reduce_only,
    reduces, order_type, owner, request_id, place, created_us, deadline_us, good_till_us, state, hold, filled,
    working, released, overfilled, open_lots, margin, hold_released, flags, reason, venue_id,
    cancel_deadline_us, outbox, amend_id, amend_lots, amend_hold, amend_price_ticks, amend_deadline_us,
    changed_us, version
FROM orders_7 ORDER BY account_id, place_made;
DROP TABLE orders_7;
CREATE UNIQUE INDEX orders_by_id ON orders (account_id, order_id);
CREATE INDEX orders_live ON orders (account_id, due_us)
    WHERE state = 'RESERVED' OR state = 'SENT' OR state = 'LIVE' OR state = 'UNKNOWN';

ALTER TABLE journal ADD COLUMN fingerprint TEXT;
UPDATE journal SET fingerprint = asked.fingerprint FROM requests AS asked
    WHERE asked.account_id = journal.account_id AND asked.version = journal.version;

ALTER TABLE requests RENAME TO requests_7;
CREATE TABLE requests (
    account_id TEXT NOT NULL,
    ident TEXT NOT NULL,
    fingerprint TEXT,
    issued_us INTEGER NOT NULL,
    outcome TEXT,
    version INTEGER,
    PRIMARY KEY (account_id, ident),
    CHECK ((fingerprint IS NULL) <> (version IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO requests SELECT account_id, ident, iif(version IS NULL, fingerprint, NULL), issued_us, outcome, version
    FROM requests_7;
DROP TABLE requests_7;
