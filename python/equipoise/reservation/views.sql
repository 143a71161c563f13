-- For people with sqlite3: amounts as decimals.
CREATE VIEW account_amounts AS
    WITH unit AS (SELECT *, CAST('1' || substr('000000000', 1, scale) AS INTEGER) AS one,
        balance_units + CASE WHEN open_pnl_units < 0 OR terms LIKE '%"pnl_policy":"all"%' THEN open_pnl_units ELSE 0 END
            - all_units AS free_units
        FROM accounts)
    SELECT account_id, currency, status, version,
        (CASE WHEN balance_units < 0 THEN '-' ELSE '' END) || (abs(balance_units) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(balance_units) % one), -scale) END) AS balance,
        (CASE WHEN open_pnl_units < 0 THEN '-' ELSE '' END) || (abs(open_pnl_units) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(open_pnl_units) % one), -scale) END) AS open_pnl,
        (CASE WHEN executed_units < 0 THEN '-' ELSE '' END) || (abs(executed_units) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(executed_units) % one), -scale) END) AS used_margin_executed,
        (CASE WHEN all_units < 0 THEN '-' ELSE '' END) || (abs(all_units) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(all_units) % one), -scale) END) AS used_margin_all,
        (CASE WHEN free_units < 0 THEN '-' ELSE '' END) || (abs(free_units) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(free_units) % one), -scale) END) AS free,
        live_orders
    FROM unit;

CREATE VIEW order_amounts AS
    WITH unit AS (SELECT *, CAST('1' || substr('000000000', 1, scale) AS INTEGER) AS one FROM orders)
    SELECT account_id, order_id, symbol, leg, side, lots, price_ticks, state, filled, working, released,
        (CASE WHEN hold < 0 THEN '-' ELSE '' END) || (abs(hold) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(hold) % one), -scale) END) AS reserved_margin,
        (CASE WHEN margin < 0 THEN '-' ELSE '' END) || (abs(margin) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(margin) % one), -scale) END) AS margin,
        (CASE WHEN hold_released < 0 THEN '-' ELSE '' END) || (abs(hold_released) / one) ||
        (CASE WHEN scale = 0 THEN '' ELSE '.' || substr('000000000' || (abs(hold_released) % one), -scale) END) AS released_margin
    FROM unit;
