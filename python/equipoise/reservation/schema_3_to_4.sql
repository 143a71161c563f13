-- Sweepers take a lease, and find what is due without looking at what rests.

-- Which sweeper took an account last, from when and until when.
CREATE TABLE leases (
    account_id TEXT PRIMARY KEY,
    sweeper TEXT NOT NULL,
    taken_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE orders ADD COLUMN
    -- When the next answer is due (`BookOrder.overdue_us`); NULL where none is awaited.
    due_us INTEGER GENERATED ALWAYS AS (
        CASE
            WHEN state IN ('RESERVED', 'SENT') THEN deadline_us
            WHEN state IN ('LIVE', 'UNKNOWN') THEN coalesce(
                min(cancel_deadline_us, amend_deadline_us),
                cancel_deadline_us,
                amend_deadline_us,
                CASE state WHEN 'UNKNOWN' THEN min(deadline_us, changed_us) END
            )
        END
    ) VIRTUAL;
DROP INDEX orders_live;
CREATE INDEX orders_live ON orders (account_id, due_us)
    WHERE state IN ('RESERVED', 'SENT', 'LIVE', 'UNKNOWN');
