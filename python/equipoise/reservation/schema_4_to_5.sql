-- An account may be suspended and recovering at once: a constraint cannot be changed in place.

ALTER TABLE accounts RENAME TO accounts_4;
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
INSERT INTO accounts SELECT * FROM accounts_4;
DROP TABLE accounts_4;
