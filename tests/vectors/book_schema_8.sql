-- A book as the eighth schema kept it: that of the seventh lifted, with a ladder that was held whole and gave its orders
-- their names, which `requests` leads to its journal record, one whose order was named by its caller, and one of the same
-- name of another account.
PRAGMA application_id = 1162956873;
PRAGMA user_version = 8;
BEGIN TRANSACTION;
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
INSERT INTO "accounts" VALUES('acc','USD',6,1700000000000000,'ACTIVE',15,999999,0,19,57,'{"combine":"worst_side","positions":"net","pnl_policy":"loss_only","mark_age_ms_max":null,"orders_max":null,"order_margin_max":null,"margin_max":null,"position_lots_max":[],"owner_margin_max":[["ann",500000]],"records_max":null}',1,1700003601000000,4,0,0,0,0,1700090002000000,8,3,3);
INSERT INTO "accounts" VALUES('asked','USD',6,1700090002000000,'ACTIVE',6,1000000,0,0,50,'{"combine":"sum","positions":"net","pnl_policy":"loss_only","mark_age_ms_max":null,"orders_max":null,"order_margin_max":null,"margin_max":null,"position_lots_max":[],"owner_margin_max":[],"records_max":null}',1,1700003602000000,2,0,0,0,0,1700090004000000,5,0,0);
INSERT INTO "accounts" VALUES('desk','USD',2,1700090002000000,'ACTIVE',4,600,0,100,100,'{"combine":"larger_leg","positions":"tickets","pnl_policy":"loss_only","mark_age_ms_max":null,"orders_max":null,"order_margin_max":null,"margin_max":null,"position_lots_max":[],"owner_margin_max":[],"records_max":null}',1,1700003602000000,0,0,0,0,0,1700090002000000,5,0,0);
INSERT INTO "accounts" VALUES('twin','USD',6,1700090003000000,'ACTIVE',7,104,0,0,10,'{"combine":"sum","positions":"net","pnl_policy":"loss_only","mark_age_ms_max":null,"orders_max":null,"order_margin_max":null,"margin_max":null,"position_lots_max":[],"owner_margin_max":[],"records_max":null}',1,1700003603000000,2,0,0,0,0,1700090002000027,9,0,0);
INSERT INTO "accounts" VALUES('whole','USD',6,1700090002000003,'ACTIVE',11,100,0,16,91,'{"combine":"sum","positions":"net","pnl_policy":"loss_only","mark_age_ms_max":null,"orders_max":null,"order_margin_max":null,"margin_max":null,"position_lots_max":[],"owner_margin_max":[],"records_max":null}',1,1700003602000003,10,0,0,0,0,1700090002000025,19,0,0);
CREATE TABLE aliases (
    account_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    order_id TEXT NOT NULL,
    PRIMARY KEY (account_id, alias)
) STRICT, WITHOUT ROWID;
INSERT INTO "aliases" VALUES('acc','a2','a');
INSERT INTO "aliases" VALUES('acc','v-a','a');
INSERT INTO "aliases" VALUES('acc','v-more','more');
CREATE TABLE base_orders (
    account_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (account_id, order_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "base_orders" VALUES('acc','old','["CANCELLED",0,0,0,1,0,0,0,5]');
CREATE TABLE base_symbols (
    account_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    leg TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (account_id, symbol, leg)
) STRICT, WITHOUT ROWID;
INSERT INTO "base_symbols" VALUES('acc','SYM','','[0,0,0,0]');
CREATE TABLE events (
    account_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    ident TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (account_id, order_id, ident)
) STRICT, WITHOUT ROWID;
INSERT INTO "events" VALUES('acc','a','acknowledge:v-a','(''acknowledge'', ''v-a'')',1700090001000000,'["OK","acknowledge",7,6,[1000000,0,0,74],[1000000,0,0,74],"a","LIVE",[],[]]');
INSERT INTO "events" VALUES('acc','a','f','(''fill'', 2, 19, None, 1)',1700090001000000,'["OK","fill",8,6,[1000000,0,0,74],[999999,0,19,73],"a","LIVE",[],[]]');
INSERT INTO "events" VALUES('acc','a','m','(''amend'', 5, 60, None, ''a2'', None)',1700090001000000,'["OK","amend",9,6,[999999,0,19,73],[999999,0,19,99],"a","LIVE",[],[]]');
INSERT INTO "events" VALUES('acc','a','w1','(''claim'',)',1700090001000000,'["OK","claim",6,6,[1000000,0,0,74],[1000000,0,0,74],"a","SENT",[],[]]');
INSERT INTO "events" VALUES('acc','b','request_cancel:1700090007000000','(''request_cancel'',)',1700090002000000,'["OK","request_cancel",11,6,[999999,0,19,55],[999999,0,19,55],"b","RESERVED",[],[]]');
INSERT INTO "events" VALUES('acc','c','cancel','(''cancel'',)',1700090002000000,'["OK","cancel",10,6,[999999,0,19,99],[999999,0,19,55],"c","CANCELLED",[],[]]');
INSERT INTO "events" VALUES('acc','more','acknowledge:v-more','(''acknowledge'', ''v-more'')',1700090002000000,'["OK","acknowledge",14,6,[999999,0,19,57],[999999,0,19,57],"more","LIVE",[],[]]');
INSERT INTO "events" VALUES('acc','more','request_cancel:1700090007000000','(''request_cancel'',)',1700090002000000,'["OK","request_cancel",15,6,[999999,0,19,57],[999999,0,19,57],"more","LIVE",[],[]]');
INSERT INTO "events" VALUES('asked','amended','m','(''amend'', 3, 30, None, None, None)',1700090002000000,'["OK","amend",4,6,[1000000,0,0,40],[1000000,0,0,50],"amended","SENT",[],[]]');
INSERT INTO "events" VALUES('asked','cancelled','request_cancel:1700093602000000','(''request_cancel'', 1700093602000000)',1700090004000000,'["OK","request_cancel",6,6,[1000000,0,0,50],[1000000,0,0,50],"cancelled","UNKNOWN",[],[]]');
INSERT INTO "events" VALUES('whole','h1','f','(''fill'', 1, 15, None, 0)',1700090002000008,'["OK","fill",4,6,[100,0,0,77],[100,0,15,77],"h1","LIVE",[],[]]');
INSERT INTO "events" VALUES('whole','k1','kf','(''fill'', 1, 1, None, 0)',1700090003000000,'["OK","fill",9,6,[100,0,15,87],[100,0,16,87],"k1","LIVE",[],[]]');
CREATE TABLE journal (
    account_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    op TEXT NOT NULL,
    ident TEXT NOT NULL,
    order_id TEXT NOT NULL,
    code TEXT NOT NULL,
    record TEXT NOT NULL, fingerprint TEXT,
    PRIMARY KEY (account_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "journal" VALUES('acc',4,1700090001000000,'archive','','','OK','[[1000000,0,0,0],[1000000,0,0,0],[["SYM","",[0,0,0,0],[0,0,0,0]]],[["old",["CANCELLED",0,0,0,1,0,0,0,5],null]],[["watermark_us",1700003601000000],["orders",1],["trimmed_version",3],["open_orders",0],["digest","0-0"]]]',NULL);
INSERT INTO "journal" VALUES('acc',5,1700090001000000,'reserve','r','','OK','[[1000000,0,0,0],[1000000,0,0,74],[["SYM","",[0,0,0,0],[0,0,74,25]]],[["a",null,["RESERVED",30,0,3,0,0,0,0,0]],["b",null,["RESERVED",25,0,2,0,0,0,0,0]],["c",null,["RESERVED",44,0,4,0,0,0,0,0]]],[["owner","ann"],["send","outbox"]]]',NULL);
INSERT INTO "journal" VALUES('acc',6,1700090001000000,'claim','w1','a','OK','[[1000000,0,0,74],[1000000,0,0,74],[],[["a",["RESERVED",30,0,3,0,0,0,0,0],["SENT",30,0,3,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('acc',7,1700090001000000,'acknowledge','acknowledge:v-a','a','OK','[[1000000,0,0,74],[1000000,0,0,74],[],[["a",["SENT",30,0,3,0,0,0,0,0],["LIVE",30,0,3,0,0,0,0,0]]],[["venue_id","v-a"]]]',NULL);
INSERT INTO "journal" VALUES('acc',8,1700090001000000,'fill','f','a','OK','[[1000000,0,0,74],[999999,0,19,73],[["SYM","",[0,0,74,25],[2,19,54,25]]],[["a",["LIVE",30,0,3,0,0,0,0,0],["LIVE",10,2,1,0,0,0,0,0]]],[["lots",2],["margin",19],["realised_pnl",null],["fee",1]]]',NULL);
INSERT INTO "journal" VALUES('acc',9,1700090001000000,'amend','m','a','OK','[[999999,0,19,73],[999999,0,19,99],[["SYM","",[2,19,54,25],[2,19,80,25]]],[["a",["LIVE",10,2,1,0,0,0,0,0],["LIVE",36,2,3,0,0,0,0,0]]],[["lots",5],["hold",60],["price_ticks",100],["client_id","a2"]]]',NULL);
INSERT INTO "journal" VALUES('acc',10,1700090002000000,'cancel','cancel','c','OK','[[999999,0,19,99],[999999,0,19,55],[["SYM","",[2,19,80,25],[2,19,36,25]]],[["c",["RESERVED",44,0,4,0,0,0,0,0],["CANCELLED",0,0,0,4,0,0,0,44]]],[]]',NULL);
INSERT INTO "journal" VALUES('acc',11,1700090002000000,'request_cancel','request_cancel:1700090007000000','b','OK','[[999999,0,19,55],[999999,0,19,55],[],[["b",["RESERVED",25,0,2,0,0,0,0,0],["RESERVED",25,0,2,0,0,0,0,0]]],[["deadline_us",1700090007000000]]]',NULL);
INSERT INTO "journal" VALUES('acc',12,1700090002000000,'reserve','s','','OK','[[999999,0,19,55],[999999,0,19,57],[["SYM","",[2,19,36,25],[2,19,38,25]]],[["late",null,["RESERVED",2,0,1,0,0,0,0,0]]],[["send","outbox"]]]',NULL);
INSERT INTO "journal" VALUES('acc',13,1700090002000000,'reserve','more','','OK','[[999999,0,19,57],[999999,0,19,57],[["SYM","",[2,19,38,25],[2,19,38,28]]],[["more",null,["SENT",3,0,2,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('acc',14,1700090002000000,'acknowledge','acknowledge:v-more','more','OK','[[999999,0,19,57],[999999,0,19,57],[],[["more",["SENT",3,0,2,0,0,0,0,0],["LIVE",3,0,2,0,0,0,0,0]]],[["venue_id","v-more"]]]',NULL);
INSERT INTO "journal" VALUES('acc',15,1700090002000000,'request_cancel','request_cancel:1700090007000000','more','OK','[[999999,0,19,57],[999999,0,19,57],[],[["more",["LIVE",3,0,2,0,0,0,0,0],["LIVE",3,0,2,0,0,0,0,0]]],[["deadline_us",1700090007000000]]]',NULL);
INSERT INTO "journal" VALUES('asked',1,1700090002000000,'open_account','open','','OK','[[0,0,0,0],[1000000,0,0,0],[],[],[["currency","USD"],["scale",6],["terms",[["combine","sum"],["positions","net"],["pnl_policy","loss_only"],["mark_age_ms_max",null],["orders_max",null],["order_margin_max",null],["margin_max",null],["position_lots_max",[]],["owner_margin_max",[]]]]]]',NULL);
INSERT INTO "journal" VALUES('asked',2,1700090002000000,'reserve','amended','','OK','[[1000000,0,0,0],[1000000,0,0,20],[["SYM","",null,[0,0,20,0]]],[["amended",null,["SENT",20,0,2,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('asked',3,1700090002000000,'reserve','cancelled','','OK','[[1000000,0,0,20],[1000000,0,0,40],[["SYM","",[0,0,20,0],[0,0,40,0]]],[["cancelled",null,["SENT",20,0,2,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('asked',4,1700090002000000,'amend','m','amended','OK','[[1000000,0,0,40],[1000000,0,0,50],[["SYM","",[0,0,40,0],[0,0,50,0]]],[["amended",["SENT",20,0,2,0,0,0,0,0],["SENT",30,0,3,0,0,0,0,0]]],[["lots",3],["hold",30],["price_ticks",100]]]',NULL);
INSERT INTO "journal" VALUES('asked',5,1700090004000000,'sweep','','','OK','[[1000000,0,0,50],[1000000,0,0,50],[],[["cancelled",["SENT",20,0,2,0,0,0,0,0],["UNKNOWN",20,0,2,0,0,0,0,0]],["amended",["SENT",30,0,3,0,0,0,0,0],["UNKNOWN",30,0,3,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('asked',6,1700090004000000,'request_cancel','request_cancel:1700093602000000','cancelled','OK','[[1000000,0,0,50],[1000000,0,0,50],[],[["cancelled",["UNKNOWN",20,0,2,0,0,0,0,0],["UNKNOWN",20,0,2,0,0,0,0,0]]],[["deadline_us",1700093602000000]]]',NULL);
INSERT INTO "journal" VALUES('desk',1,1700090002000000,'open_account','open:c6037afdb952a51bbdc82c571134a861','','OK','[[0,0,0,0],[500,0,0,0],[],[],[["currency","USD"],["scale",2],["terms",[["combine","larger_leg"],["positions","tickets"],["pnl_policy","loss_only"],["mark_age_ms_max",null],["orders_max",null],["order_margin_max",null],["margin_max",null],["position_lots_max",[]],["owner_margin_max",[]]]]]]',NULL);
INSERT INTO "journal" VALUES('desk',2,1700090002000000,'execute','x','t','OK','[[500,0,0,0],[500,0,100,100],[["SYM","",null,[2,100,0,0]]],[["t",null,["FILLED",0,2,0,0,0,2,100,0]]],[["lots",2],["margin",100],["realised_pnl",null],["fee",0]]]',NULL);
INSERT INTO "journal" VALUES('desk',3,1700090002000000,'deposit','d','','OK','[[500,0,100,100],[600,0,100,100],[],[],[["amount",100],["kind","deposit"]]]',NULL);
INSERT INTO "journal" VALUES('desk',4,1700090002000000,'abandon','gone','','OK','[[600,0,100,100],[600,0,100,100],[],[],[]]',NULL);
INSERT INTO "journal" VALUES('twin',1,1700090003000000,'open_account','open:50dc4d96fa085e47421e3aa36fe06bd4','','OK','[[0,0,0,0],[100,0,0,0],[],[],[["currency","USD"],["scale",6],["terms",[["combine","sum"],["positions","net"],["pnl_policy","loss_only"],["mark_age_ms_max",null],["orders_max",null],["order_margin_max",null],["margin_max",null],["position_lots_max",[]],["owner_margin_max",[]]]]]]',NULL);
INSERT INTO "journal" VALUES('twin',2,1700090003000000,'deposit','d0','','OK','[[100,0,0,0],[101,0,0,0],[],[],[["amount",1],["kind","deposit"]]]',NULL);
INSERT INTO "journal" VALUES('twin',3,1700090003000000,'deposit','d1','','OK','[[101,0,0,0],[102,0,0,0],[],[],[["amount",1],["kind","deposit"]]]',NULL);
INSERT INTO "journal" VALUES('twin',4,1700090003000000,'deposit','d2','','OK','[[102,0,0,0],[103,0,0,0],[],[],[["amount",1],["kind","deposit"]]]',NULL);
INSERT INTO "journal" VALUES('twin',5,1700090003000000,'deposit','d3','','OK','[[103,0,0,0],[104,0,0,0],[],[],[["amount",1],["kind","deposit"]]]',NULL);
INSERT INTO "journal" VALUES('twin',6,1700090003000000,'reserve','kept','','OK','[[104,0,0,0],[104,0,0,9],[["SYM","",null,[0,0,9,0]]],[["t",null,["RESERVED",9,0,5,0,0,0,0,0]]],[]]','a9287a5ce0aa9197b83d29c160b3c7ef');
INSERT INTO "journal" VALUES('twin',7,1700090002000027,'reserve','mine','','OK','[[104,0,0,9],[104,0,0,10],[["SYM","",[0,0,9,0],[0,0,10,0]]],[["mine:0",null,["RESERVED",1,0,3,0,0,0,0,0]]],[]]','bdf36c446439d49be405c8339be3a5e6');
INSERT INTO "journal" VALUES('whole',1,1700090002000003,'open_account','open:50dc4d96fa085e47421e3aa36fe06bd4','','OK','[[0,0,0,0],[100,0,0,0],[],[],[["currency","USD"],["scale",6],["terms",[["combine","sum"],["positions","net"],["pnl_policy","loss_only"],["mark_age_ms_max",null],["orders_max",null],["order_margin_max",null],["margin_max",null],["position_lots_max",[]],["owner_margin_max",[]]]]]]',NULL);
INSERT INTO "journal" VALUES('whole',2,1700090002000005,'reserve','all','','OK','[[100,0,0,0],[100,0,0,70],[["SYM","",null,[0,0,30,40]]],[["h1",null,["RESERVED",30,0,2,0,0,0,0,0]],["h2",null,["RESERVED",40,0,1,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('whole',3,1700090002000007,'reserve','part','','OK','[[100,0,0,70],[100,0,0,77],[["SYM","",[0,0,30,40],[0,0,37,40]]],[["p",null,["RESERVED",7,0,1,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('whole',4,1700090002000008,'fill','f','h1','OK','[[100,0,0,77],[100,0,15,77],[["SYM","",[0,0,37,40],[1,15,22,40]]],[["h1",["RESERVED",30,0,2,0,0,0,0,0],["LIVE",15,1,1,0,0,0,0,0]]],[["lots",1],["margin",15],["realised_pnl",null],["fee",0]]]',NULL);
INSERT INTO "journal" VALUES('whole',5,1700090002000010,'abandon','gone','','OK','[[100,0,15,77],[100,0,15,77],[],[],[]]',NULL);
INSERT INTO "journal" VALUES('whole',6,1700090003000000,'reserve','kept','','OK','[[100,0,15,77],[100,0,15,84],[["SYM","",[1,15,22,40],[1,15,25,44]]],[["k1",null,["RESERVED",3,0,2,0,0,0,0,0]],["k2",null,["RESERVED",4,0,5,0,0,0,0,0]]],[]]','fc7dfbe4540cc01b28060c25ec906b0d');
INSERT INTO "journal" VALUES('whole',7,1700090003000000,'reserve','best','','OK','[[100,0,15,84],[100,0,15,86],[["SYM","",[1,15,25,44],[1,15,27,44]]],[["k3",null,["RESERVED",2,0,5,0,0,0,0,0]]],[]]','e8dfdfb2accbc93af34e43b993254c70');
INSERT INTO "journal" VALUES('whole',8,1700090003000000,'reserve','some','','OK','[[100,0,15,86],[100,0,15,87],[["SYM","",[1,15,27,44],[1,15,28,44]]],[["k5",null,["RESERVED",1,0,5,0,0,0,0,0]]],[]]',NULL);
INSERT INTO "journal" VALUES('whole',9,1700090003000000,'fill','kf','k1','OK','[[100,0,15,87],[100,0,16,87],[["SYM","",[1,15,28,44],[2,16,27,44]]],[["k1",["RESERVED",3,0,2,0,0,0,0,0],["LIVE",2,1,1,0,0,0,0,0]]],[["lots",1],["margin",1],["realised_pnl",null],["fee",0]]]',NULL);
INSERT INTO "journal" VALUES('whole',10,1700090002000023,'reserve','mine','','OK','[[100,0,16,87],[100,0,16,90],[["SYM","",[2,16,27,44],[2,16,28,46]]],[["mine:0",null,["RESERVED",1,0,2,0,0,0,0,0]],["mine:1",null,["RESERVED",2,0,5,0,0,0,0,0]]],[]]','98fad729a732fc1f26f1bf4366923dfb');
INSERT INTO "journal" VALUES('whole',11,1700090002000025,'reserve','named','','OK','[[100,0,16,90],[100,0,16,91],[["SYM","",[2,16,28,46],[2,16,29,46]]],[["n1",null,["RESERVED",1,0,3,0,0,0,0,0]]],[]]','139287c16854c4d45dec5267b01b8dd0');
CREATE TABLE journal_base (
    account_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    totals TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "journal_base" VALUES('acc',3,'[1000000,0,0,0]');
CREATE TABLE leases (
    account_id TEXT PRIMARY KEY,
    sweeper TEXT NOT NULL,
    taken_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
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
INSERT INTO "orders" VALUES('acc','a',1,'SYM','','bid',3,100,6,30,0,0,'limit','ann','r',0,1700090001000000,1700090031000000,NULL,'LIVE',36,2,3,0,0,0,0,0,'','','v-a',NULL,0,'m',5,60,100,1700090006000000,1700090001000000,9);
INSERT INTO "orders" VALUES('acc','b',2,'SYM','','ask',2,100,6,25,0,0,'limit','ann','r',1,1700090001000000,1700090031000000,NULL,'RESERVED',25,0,2,0,0,0,0,0,'','',NULL,1700090007000000,1,NULL,0,0,0,NULL,1700090002000000,11);
INSERT INTO "orders" VALUES('acc','c',3,'SYM','','bid',4,100,6,44,0,0,'limit','ann','r',2,1700090001000000,1700090031000000,NULL,'CANCELLED',0,0,0,4,0,0,0,44,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000000,10);
INSERT INTO "orders" VALUES('acc','late',4,'SYM','','bid',1,100,6,2,0,0,'limit','','s',0,1700090002000000,1700090032000000,NULL,'RESERVED',2,0,1,0,0,0,0,0,'','',NULL,NULL,1,NULL,0,0,0,NULL,1700090002000000,12);
INSERT INTO "orders" VALUES('acc','more',55834574848,'SYM','','ask',2,1,6,3,0,0,'limit','','more',0,1700090002000000,1700090032000000,NULL,'LIVE',3,0,2,0,0,0,0,0,'','','v-more',1700090007000000,0,NULL,0,0,0,NULL,1700090002000000,15);
INSERT INTO "orders" VALUES('asked','amended',8589934592,'SYM','','bid',2,100,6,20,0,0,'limit','','amended',0,1700090002000000,1700090003000000,NULL,'UNKNOWN',30,0,3,0,0,0,0,0,'','',NULL,NULL,0,'m',3,30,100,1700093602000000,1700090004000000,5);
INSERT INTO "orders" VALUES('asked','cancelled',12884901888,'SYM','','bid',2,100,6,20,0,0,'limit','','cancelled',0,1700090002000000,1700090003000000,NULL,'UNKNOWN',20,0,2,0,0,0,0,0,'','',NULL,1700093602000000,0,NULL,0,0,0,NULL,1700090004000000,6);
INSERT INTO "orders" VALUES('desk','t',1,'SYM','','bid',2,100,2,0,0,0,'market','','x',0,1700090002000000,1700090002000000,NULL,'FILLED',0,2,0,0,0,2,100,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000000,2);
INSERT INTO "orders" VALUES('twin','t',25769803776,'SYM','','bid',5,1,6,9,0,0,'limit','','kept',0,1700090003000000,1700090033000000,NULL,'RESERVED',9,0,5,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090003000000,6);
INSERT INTO "orders" VALUES('twin','mine:0',30064771072,'SYM','','bid',3,1,6,1,0,0,'limit','','mine',0,1700090002000027,1700090032000026,NULL,'RESERVED',1,0,3,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000027,7);
INSERT INTO "orders" VALUES('whole','h1',8589934592,'SYM','','bid',2,1,6,30,0,0,'limit','','all',0,1700090002000005,1700090032000004,NULL,'LIVE',15,1,1,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000008,4);
INSERT INTO "orders" VALUES('whole','h2',8589934593,'SYM','','ask',1,1,6,40,0,0,'limit','','all',1,1700090002000005,1700090032000004,NULL,'RESERVED',40,0,1,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000005,2);
INSERT INTO "orders" VALUES('whole','p',12884901888,'SYM','','bid',1,1,6,7,0,0,'limit','','part',1,1700090002000007,1700090032000006,NULL,'RESERVED',7,0,1,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000007,3);
INSERT INTO "orders" VALUES('whole','k1',25769803776,'SYM','','bid',2,1,6,3,0,0,'limit','','kept',0,1700090003000000,1700090033000000,NULL,'LIVE',2,1,1,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090003000000,9);
INSERT INTO "orders" VALUES('whole','k2',25769803777,'SYM','','ask',5,1,6,4,0,0,'limit','','kept',1,1700090003000000,1700090033000000,NULL,'RESERVED',4,0,5,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090003000000,6);
INSERT INTO "orders" VALUES('whole','k3',30064771072,'SYM','','bid',5,1,6,2,0,0,'limit','','best',0,1700090003000000,1700090033000000,NULL,'RESERVED',2,0,5,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090003000000,7);
INSERT INTO "orders" VALUES('whole','k5',34359738368,'SYM','','bid',5,1,6,1,0,0,'limit','','some',1,1700090003000000,1700090033000000,NULL,'RESERVED',1,0,5,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090003000000,8);
INSERT INTO "orders" VALUES('whole','mine:0',42949672960,'SYM','','bid',2,1,6,1,0,0,'limit','','mine',0,1700090002000023,1700090032000022,NULL,'RESERVED',1,0,2,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000023,10);
INSERT INTO "orders" VALUES('whole','mine:1',42949672961,'SYM','','ask',5,1,6,2,0,0,'limit','','mine',1,1700090002000023,1700090032000022,NULL,'RESERVED',2,0,5,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000023,10);
INSERT INTO "orders" VALUES('whole','n1',47244640256,'SYM','','bid',3,1,6,1,0,0,'limit','','named',0,1700090002000025,1700090032000024,NULL,'RESERVED',1,0,3,0,0,0,0,0,'','',NULL,NULL,0,NULL,0,0,0,NULL,1700090002000025,11);
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
INSERT INTO "outbox" VALUES('acc','r',5,1700090001000000,1700090031000000,'["a","b","c"]',1);
INSERT INTO "outbox" VALUES('acc','s',12,1700090002000000,1700090032000000,'["late"]',1);
CREATE TABLE owners (
    account_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    held INTEGER NOT NULL CHECK (held >= 0),
    PRIMARY KEY (account_id, owner)
) STRICT, WITHOUT ROWID;
INSERT INTO "owners" VALUES('acc','ann',61);
CREATE TABLE rates (
    account_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    leg TEXT NOT NULL,
    kind TEXT NOT NULL,
    rate INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (account_id, symbol, leg, kind, rate)
) STRICT, WITHOUT ROWID;
INSERT INTO "rates" VALUES('desk','SYM','','tickets',50,1);
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
INSERT INTO "requests" VALUES('acc','more','948b03b6fa53d240745dc6996af7d7e5',1700090002000000,'["OK","reserve",13,6,[999999,0,19,57],[999999,0,19,57],null,null,[],[["more","OK",3,0,0]]]',NULL);
INSERT INTO "requests" VALUES('acc','r','0eabd625e0689d021df17cc0810a8ed0',1700090001000000,'["OK","reserve",5,6,[1000000,0,0,0],[1000000,0,0,74],null,null,[],[["a","OK",30,0,0],["b","OK",25,0,0],["c","OK",44,0,0]]]',NULL);
INSERT INTO "requests" VALUES('acc','s','087d6db5821638b87fae23579059518f',1700090002000000,'["OK","reserve",12,6,[999999,0,19,55],[999999,0,19,57],null,null,[],[["late","OK",2,0,0]]]',NULL);
INSERT INTO "requests" VALUES('asked','amended','8b443e01c781ed71a738ebdf4866dd20',1700090002000000,'["OK","reserve",2,6,[1000000,0,0,0],[1000000,0,0,20],null,null,[],[["amended","OK",20,0,0]]]',NULL);
INSERT INTO "requests" VALUES('asked','cancelled','64b1c703c27cd0725f1c5e71e2b8cca9',1700090002000000,'["OK","reserve",3,6,[1000000,0,0,20],[1000000,0,0,40],null,null,[],[["cancelled","OK",20,0,0]]]',NULL);
INSERT INTO "requests" VALUES('asked','open','6fdf81cb1e37ffab2efbffd785aded58',1700090002000000,'["OK","open_account",1,6,[0,0,0,0],[1000000,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('desk','d','(''deposit'', 100, ''deposit'')',1700090002000000,'["OK","deposit",3,2,[500,0,100,100],[600,0,100,100],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('desk','gone','abandon',1700090002000000,NULL,NULL);
INSERT INTO "requests" VALUES('desk','open:c6037afdb952a51bbdc82c571134a861','c6037afdb952a51bbdc82c571134a861',1700090002000000,'["OK","open_account",1,2,[0,0,0,0],[500,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('desk','x','497adc57ec14825f7cc0f60f9f0ea2fa',1700090002000000,'["OK","execute",2,2,[500,0,0,0],[500,0,100,100],"t","FILLED",[],[]]',NULL);
INSERT INTO "requests" VALUES('twin','d0','(''deposit'', 1, ''deposit'')',1700090003000000,'["OK","deposit",2,6,[100,0,0,0],[101,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('twin','d1','(''deposit'', 1, ''deposit'')',1700090003000000,'["OK","deposit",3,6,[101,0,0,0],[102,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('twin','d2','(''deposit'', 1, ''deposit'')',1700090003000000,'["OK","deposit",4,6,[102,0,0,0],[103,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('twin','d3','(''deposit'', 1, ''deposit'')',1700090003000000,'["OK","deposit",5,6,[103,0,0,0],[104,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('twin','kept',NULL,1700090003000000,NULL,6);
INSERT INTO "requests" VALUES('twin','mine',NULL,1700090002000026,NULL,7);
INSERT INTO "requests" VALUES('twin','open:50dc4d96fa085e47421e3aa36fe06bd4','50dc4d96fa085e47421e3aa36fe06bd4',1700090003000000,'["OK","open_account",1,6,[0,0,0,0],[100,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('whole','all','60a593d63d0a672c01ac20bf1db57ff7',1700090002000004,'["OK","reserve",2,6,[100,0,0,0],[100,0,0,70],null,null,[],[["h1","OK",30,0,0],["h2","OK",40,0,0]]]',NULL);
INSERT INTO "requests" VALUES('whole','best',NULL,1700090003000000,NULL,7);
INSERT INTO "requests" VALUES('whole','gone','abandon',1700090002000009,NULL,NULL);
INSERT INTO "requests" VALUES('whole','kept',NULL,1700090003000000,NULL,6);
INSERT INTO "requests" VALUES('whole','mine',NULL,1700090002000022,NULL,10);
INSERT INTO "requests" VALUES('whole','named',NULL,1700090002000024,NULL,11);
INSERT INTO "requests" VALUES('whole','open:50dc4d96fa085e47421e3aa36fe06bd4','50dc4d96fa085e47421e3aa36fe06bd4',1700090002000002,'["OK","open_account",1,6,[0,0,0,0],[100,0,0,0],null,null,[],[]]',NULL);
INSERT INTO "requests" VALUES('whole','part','1ee189eb9895b0502fb9a0b74b2a7671',1700090002000006,'["OK","reserve",3,6,[100,0,0,70],[100,0,0,77],null,null,[],[["x","INSUFFICIENT_MARGIN",0,200,30],["p","OK",7,0,0]]]',NULL);
INSERT INTO "requests" VALUES('whole','some','0e4e011df89ed16eb6f9f4c443dc40da',1700090003000000,'["OK","reserve",8,6,[100,0,15,86],[100,0,15,87],null,null,[],[["k4","INSUFFICIENT_MARGIN",0,1000000000,14],["k5","OK",1,0,0]]]',NULL);
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
INSERT INTO "symbols" VALUES('acc','SYM','',2,19,38,28,4,4,0,0,0,0,0,0,0,-1,-1);
INSERT INTO "symbols" VALUES('asked','SYM','',0,0,50,0,5,0,0,0,0,0,0,0,0,-1,-1);
INSERT INTO "symbols" VALUES('desk','SYM','',2,100,0,0,0,0,0,0,2,0,0,50,0,-1,-1);
INSERT INTO "symbols" VALUES('twin','SYM','',0,0,10,0,8,0,0,0,0,0,0,0,0,-1,-1);
INSERT INTO "symbols" VALUES('whole','SYM','',2,16,29,46,18,11,0,0,0,0,0,0,0,-1,-1);
CREATE UNIQUE INDEX orders_by_id ON orders (account_id, order_id);
CREATE INDEX orders_live ON orders (account_id, due_us)
    WHERE state = 'RESERVED' OR state = 'SENT' OR state = 'LIVE' OR state = 'UNKNOWN';
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
COMMIT;
