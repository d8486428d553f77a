-- The order store's tables. Times are milliseconds since 1970, UTC; money is in minor units.
-- Each section below brings a store from the version before to its own; none is ever changed.
-- No secondary index stands in the way of the writer: an order's id leads with its sale and its
-- time, so the primary key serves every look-up that a sale needs (docs/adr/0001).

-- version: 1

CREATE TABLE doorbuster_schema (
    schema_version INTEGER NOT NULL
);

-- Which log this store takes its orders from, and the position of the first record not applied.
CREATE TABLE order_log (
    log_id TEXT   NOT NULL PRIMARY KEY,
    next   BIGINT NOT NULL
);

CREATE TABLE sales (
    no                  INTEGER PRIMARY KEY,
    id                  VARCHAR(63)  NOT NULL UNIQUE,
    title               VARCHAR(800) NOT NULL,
    stock               BIGINT NOT NULL CHECK (stock >= 0),
    sold                BIGINT NOT NULL DEFAULT 0 CHECK (sold >= 0 AND sold <= stock), -- live units
    per_user_limit      BIGINT NOT NULL,
    per_user_limit_ever BIGINT NOT NULL,           -- the highest it has been: what an audit checks
    starts_at           BIGINT NOT NULL,
    ends_at             BIGINT,
    price               BIGINT,
    currency            VARCHAR(3),
    payment_timeout_ms  BIGINT NOT NULL,
    paused              INTEGER NOT NULL,
    closed_at           BIGINT,
    terms_version       BIGINT NOT NULL,           -- counts changes of the terms
    version             BIGINT NOT NULL DEFAULT 0, -- counts every change: the optimistic guard
    epoch               BIGINT NOT NULL DEFAULT 0, -- rebuilds of the inventory
    barrier_epoch       BIGINT NOT NULL DEFAULT 0, -- the last barrier applied from the log
    log_accepted_orders BIGINT NOT NULL DEFAULT 0, -- valid order records ever applied
    log_accepted_units  BIGINT NOT NULL DEFAULT 0,
    voided_orders       BIGINT NOT NULL DEFAULT 0, -- records of an epoch that was closed
    created_as          TEXT NOT NULL              -- the request that created it, canonical
);

-- status: 2 confirmed, 3 paid, 4 cancelled, 5 expired, 6 refused (1, queued, is not in the store)
CREATE TABLE orders (
    id              CHAR(32)     NOT NULL PRIMARY KEY,
    sale_no         INTEGER      NOT NULL,
    user_id         VARCHAR(512) NOT NULL,
    quantity        BIGINT       NOT NULL CHECK (quantity > 0),
    status          SMALLINT     NOT NULL,
    created_at      BIGINT       NOT NULL,
    expires_at      BIGINT,
    paid_at         BIGINT,
    payment_ref     TEXT,
    idempotency_key VARCHAR(255) NOT NULL,
    version         BIGINT       NOT NULL DEFAULT 1
) WITHOUT ROWID;

-- Records that could not become orders, each for its own reason. They keep their units.
CREATE TABLE dead_letters (
    order_id        CHAR(32)     NOT NULL PRIMARY KEY,
    sale_no         INTEGER      NOT NULL,
    user_id         VARCHAR(512) NOT NULL,
    quantity        BIGINT       NOT NULL,
    idempotency_key VARCHAR(255) NOT NULL,
    cause           TEXT         NOT NULL
);

-- Changes of a sale that were asked for under an Idempotency-Key, so that a retry changes nothing.
CREATE TABLE sale_changes (
    sale_no INTEGER      NOT NULL,
    change_key VARCHAR(255) NOT NULL,
    request TEXT         NOT NULL,
    PRIMARY KEY (sale_no, change_key)
);

-- version: 2

-- Orders that wait for their payment, by when it is due. Without a payment step nothing is in here.
CREATE INDEX orders_due ON orders (expires_at) WHERE status = 2 AND expires_at IS NOT NULL;

-- What the store has given back and the inventory may not know yet (design.md section 4, rule 9):
-- orders that ended without a buyer, and withdrawals.
CREATE TABLE give_backs (
    order_id CHAR(32) NOT NULL PRIMARY KEY,
    sale_no  INTEGER  NOT NULL
) WITHOUT ROWID;

-- Units that operators took out of the stock, so that none is taken twice.
CREATE TABLE withdrawals (
    id      CHAR(32) NOT NULL PRIMARY KEY,
    sale_no INTEGER  NOT NULL,
    units   BIGINT   NOT NULL
) WITHOUT ROWID;

-- What operators did to a sale; before_terms and after_terms are JSON objects.
CREATE TABLE sale_journal (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    sale_no      INTEGER NOT NULL,
    at           BIGINT  NOT NULL,
    who          TEXT    NOT NULL,
    what         TEXT    NOT NULL,
    before_terms TEXT    NOT NULL,
    after_terms  TEXT    NOT NULL
);
CREATE INDEX sale_journal_of_sale ON sale_journal (sale_no, seq);

-- The outbox: every change of an order, in the change's own transaction, for the webhooks. The rest
-- of an event is the order's row. seq is never used twice.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id CHAR(32) NOT NULL,
    version  BIGINT   NOT NULL,
    status   SMALLINT NOT NULL,
    at       BIGINT   NOT NULL
);

-- Who is told of orders, by the URL in the settings. The row stays when the URL leaves them, so
-- that it goes on where it was if it comes back soon. state: 1 active, 2 disabled, 3 removed
CREATE TABLE webhook_endpoints (
    no            INTEGER       PRIMARY KEY,
    url           VARCHAR(2048) NOT NULL UNIQUE,
    done_seq      BIGINT        NOT NULL, -- all up to here is delivered, aside or not wanted
    state         SMALLINT      NOT NULL,
    since         BIGINT        NOT NULL,
    reason        TEXT          NOT NULL,
    failing_since BIGINT,
    last_error    TEXT          NOT NULL,
    delivered     BIGINT        NOT NULL
);

-- Events that an endpoint did not take while others got through. state: 1 is tried again, 2 parked
CREATE TABLE webhook_aside (
    seq           BIGINT   NOT NULL,
    endpoint      INTEGER  NOT NULL,
    state         SMALLINT NOT NULL,
    attempts      BIGINT   NOT NULL,
    failing_since BIGINT,
    last_error    TEXT     NOT NULL,
    PRIMARY KEY (seq, endpoint)
) WITHOUT ROWID;

-- version: 3

-- The position of the first record not applied, by partition of the log; without a row: 1.
CREATE TABLE log_positions (
    log_partition INTEGER NOT NULL PRIMARY KEY,
    next          BIGINT  NOT NULL
);
INSERT INTO log_positions (log_partition, next) SELECT 0, next FROM order_log;
ALTER TABLE order_log DROP COLUMN next;

-- The partition of the log that holds the sale's records, for good.
ALTER TABLE sales ADD COLUMN log_partition INTEGER NOT NULL DEFAULT 0;

-- Are the letter's units among those that its sale counts as accepted? Not without a sale.
ALTER TABLE dead_letters ADD COLUMN is_counted SMALLINT NOT NULL DEFAULT 1;
UPDATE dead_letters SET is_counted = 0 WHERE sale_no NOT IN (SELECT no FROM sales);
-- The record's bytes in hexadecimal, where they are no order.
ALTER TABLE dead_letters ADD COLUMN raw TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN set_aside_at BIGINT NOT NULL DEFAULT 0;
-- When an operator gave it up, and why: it holds no units any more.
ALTER TABLE dead_letters ADD COLUMN dropped_at BIGINT;
ALTER TABLE dead_letters ADD COLUMN drop_cause TEXT NOT NULL DEFAULT '';

-- Counts what operators did to an endpoint: what was saved under another count is void.
ALTER TABLE webhook_endpoints ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
