-- A reservation that is held whole needs no id of its own where its first order is named after it. Those that have one
-- keep it.

ALTER TABLE orders ADD COLUMN issued_us INTEGER;
