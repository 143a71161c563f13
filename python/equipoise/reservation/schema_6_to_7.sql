-- An order is written without the engine building a table of states each time; and a reservation that is held whole needs
-- no answer of its own beside its journal record. What was answered before stays where it is.

DROP INDEX orders_live;
CREATE INDEX orders_live ON orders (account_id, due_us)
    WHERE state = 'RESERVED' OR state = 'SENT' OR state = 'LIVE' OR state = 'UNKNOWN';
ALTER TABLE requests ADD COLUMN version INTEGER;
