-- Sweepers take a lease.

-- Which sweeper took an account last, from when and until when.
CREATE TABLE leases (
    account_id TEXT PRIMARY KEY,
    sweeper TEXT NOT NULL,
    taken_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
