-- The reservation book in one SQLite file. Amounts are integers of 10^-scale of the account's currency;
-- views.sql shows them as decimals. Times are microseconds since the epoch.

CREATE TABLE accounts (
    account_id TEXT PRIMARY KEY,
    currency TEXT NOT NULL,
    scale INTEGER NOT NULL CHECK (scale BETWEEN 0 AND 9),
    opened_us INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'SUSPENDED', 'RECOVERING', 'SUSPENDED_RECOVERING')),
    version INTEGER NOT NULL,
    balance_units INTEGER NOT NULL,
    open_pnl_units INTEGER NOT NULL,
    executed_units INTEGER NOT NULL CHECK (executed_units >= 0),
    all_units INTEGER NOT NULL CHECK (all_units >= 0),
    terms TEXT NOT NULL,
    terms_version INTEGER NOT NULL,
    watermark_us INTEGER NOT NULL,
    live_orders INTEGER NOT NULL CHECK (live_orders >= 0),
    late_fills INTEGER NOT NULL,
    overfills INTEGER NOT NULL,
    under_reserved INTEGER NOT NULL,
    pnl_missing INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    records INTEGER NOT NULL DEFAULT 0,
    exported_version INTEGER NOT NULL DEFAULT 0,
    trimmed_version INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Running totals of a symbol; in hedge mode of one leg of it.
CREATE TABLE symbols (
    account_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    leg TEXT NOT NULL,
    lots INTEGER NOT NULL,
    margin INTEGER NOT NULL CHECK (margin >= 0),
    hold_bids INTEGER NOT NULL CHECK (hold_bids >= 0),
    hold_asks INTEGER NOT NULL CHECK (hold_asks >= 0),
    bid_lots INTEGER NOT NULL CHECK (bid_lots >= 0),
    ask_lots INTEGER NOT NULL CHECK (ask_lots >= 0),
    reduce_bid_lots INTEGER NOT NULL CHECK (reduce_bid_lots >= 0),
    reduce_ask_lots INTEGER NOT NULL CHECK (reduce_ask_lots >= 0),
    long_lots INTEGER NOT NULL CHECK (long_lots >= 0),
    short_lots INTEGER NOT NULL CHECK (short_lots >= 0),
    rate_orders INTEGER NOT NULL,
    rate_tickets INTEGER NOT NULL,
    open_pnl INTEGER NOT NULL,
    marked_us INTEGER NOT NULL,
    revalued_us INTEGER NOT NULL,
    PRIMARY KEY (account_id, symbol, leg)
) STRICT, WITHOUT ROWID;

-- Orders lie as they were made: by place_made, the version of the account that made the order in the upper 31 bits and the
-- order's place in that step in the lower 32. Callers who name theirs each in their own way write into as many pages of
-- the index over ids, of which a page has some 120, and not into as many pages of orders.
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
CREATE UNIQUE INDEX orders_by_id ON orders (account_id, order_id);
-- A sweep finds what is due without looking at what rests. For IN the engine would build a table of the states whenever
-- it writes an order.
CREATE INDEX orders_live ON orders (account_id, due_us)
    WHERE state = 'RESERVED' OR state = 'SENT' OR state = 'LIVE' OR state = 'UNKNOWN';

CREATE TABLE aliases (
    account_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    order_id TEXT NOT NULL,
    PRIMARY KEY (account_id, alias)
) STRICT, WITHOUT ROWID;

CREATE TABLE owners (
    account_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    held INTEGER NOT NULL CHECK (held >= 0),
    PRIMARY KEY (account_id, owner)
) STRICT, WITHOUT ROWID;

-- larger_leg: how many orders or tickets have each charge per lot. The highest is the last key.
CREATE TABLE rates (
    account_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    leg TEXT NOT NULL,
    kind TEXT NOT NULL,
    rate INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (account_id, symbol, leg, kind, rate)
) STRICT, WITHOUT ROWID;

-- Ids of account-level requests. Of a reservation that is held whole the journal's record of the version has the
-- fingerprint and says what was answered; others have a fingerprint and an outcome. Neither version nor outcome: a
-- tombstone (abandoned).
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

-- Ids of order events; they live as long as their order.
CREATE TABLE events (
    account_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    ident TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (account_id, order_id, ident)
) STRICT, WITHOUT ROWID;

-- Orders of one request that somebody has to send; gone when the venue has answered for all of them. Whoever reads them
-- by version sorts them: an index would be written twice for each, and they are few.
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

-- Which sweeper took an account last, from when and until when.
CREATE TABLE leases (
    account_id TEXT PRIMARY KEY,
    sweeper TEXT NOT NULL,
    taken_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    account_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    op TEXT NOT NULL,
    ident TEXT NOT NULL,
    order_id TEXT NOT NULL,
    code TEXT NOT NULL,
    record TEXT NOT NULL,
    -- Of what was asked, where `requests` leads here.
    fingerprint TEXT,
    PRIMARY KEY (account_id, version)
) STRICT, WITHOUT ROWID;

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
