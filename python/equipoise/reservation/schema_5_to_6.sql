-- An UNKNOWN order is overdue whatever was asked of it since: a generated column cannot be changed in place.

DROP INDEX orders_live;
ALTER TABLE orders DROP COLUMN due_us;
ALTER TABLE orders ADD COLUMN
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
    ) VIRTUAL;
CREATE INDEX orders_live ON orders (account_id, due_us)
    WHERE state IN ('RESERVED', 'SENT', 'LIVE', 'UNKNOWN');
