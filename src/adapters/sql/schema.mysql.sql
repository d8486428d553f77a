-- The order store's tables in MySQL and MariaDB; what they are for stands in schema.sql. Texts
-- that are compared or sorted are bytes, UTF-8 inside: the collations that keep trailing spaces
-- apart have different names in MySQL and MariaDB. A table is made only when it is not there,
-- because no transaction holds these statements together.

-- version: 3

CREATE TABLE IF NOT EXISTS doorbuster_schema (
    schema_version INT NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS order_log (
    only_row SMALLINT       NOT NULL DEFAULT 1 PRIMARY KEY,
    log_id   VARBINARY(512) NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS log_positions (
    log_partition INT    NOT NULL PRIMARY KEY,
    next          BIGINT NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS sales (
    no                  INT    NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id                  VARCHAR(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    title               VARCHAR(800) NOT NULL,
    stock               BIGINT NOT NULL,
    sold                BIGINT NOT NULL DEFAULT 0,
    per_user_limit      BIGINT NOT NULL,
    per_user_limit_ever BIGINT NOT NULL,
    starts_at           BIGINT NOT NULL,
    ends_at             BIGINT,
    price               BIGINT,
    currency            VARCHAR(3),
    payment_timeout_ms  BIGINT NOT NULL,
    paused              INT    NOT NULL,
    closed_at           BIGINT,
    terms_version       BIGINT NOT NULL,
    version             BIGINT NOT NULL DEFAULT 0,
    epoch               BIGINT NOT NULL DEFAULT 0,
    barrier_epoch       BIGINT NOT NULL DEFAULT 0,
    log_accepted_orders BIGINT NOT NULL DEFAULT 0,
    log_accepted_units  BIGINT NOT NULL DEFAULT 0,
    voided_orders       BIGINT NOT NULL DEFAULT 0,
    created_as          MEDIUMTEXT NOT NULL,
    log_partition       INT    NOT NULL,
    CONSTRAINT sales_stock CHECK (stock >= 0),
    CONSTRAINT sales_sold CHECK (sold >= 0 AND sold <= stock)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- due_at is expires_at while a payment is due, so that an index of it holds little else: neither
-- MySQL nor MariaDB indexes some of the rows.
CREATE TABLE IF NOT EXISTS orders (
    id              CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    sale_no         INT             NOT NULL,
    user_id         VARBINARY(512)  NOT NULL,
    quantity        BIGINT          NOT NULL,
    status          SMALLINT        NOT NULL,
    created_at      BIGINT          NOT NULL,
    expires_at      BIGINT,
    due_at          BIGINT,
    paid_at         BIGINT,
    payment_ref     VARBINARY(2048),
    idempotency_key VARBINARY(1020) NOT NULL,
    version         BIGINT          NOT NULL DEFAULT 1,
    CONSTRAINT orders_quantity CHECK (quantity > 0),
    KEY orders_due (due_at)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS dead_letters (
    order_id        CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    sale_no         INT        NOT NULL,
    user_id         MEDIUMBLOB NOT NULL,
    quantity        BIGINT     NOT NULL,
    idempotency_key MEDIUMBLOB NOT NULL,
    cause           MEDIUMTEXT NOT NULL,
    is_counted      SMALLINT   NOT NULL,
    raw             MEDIUMTEXT NOT NULL,
    set_aside_at    BIGINT     NOT NULL,
    dropped_at      BIGINT,
    drop_cause      VARCHAR(4096) NOT NULL DEFAULT ''
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS sale_changes (
    sale_no    INT             NOT NULL,
    change_key VARBINARY(1020) NOT NULL,
    request    MEDIUMTEXT      NOT NULL,
    PRIMARY KEY (sale_no, change_key)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS give_backs (
    order_id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    sale_no  INT NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS withdrawals (
    id      CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    sale_no INT    NOT NULL,
    units   BIGINT NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS sale_journal (
    seq          BIGINT     NOT NULL AUTO_INCREMENT PRIMARY KEY,
    sale_no      INT        NOT NULL,
    at           BIGINT     NOT NULL,
    who          MEDIUMTEXT NOT NULL,
    what         MEDIUMTEXT NOT NULL,
    before_terms MEDIUMTEXT NOT NULL,
    after_terms  MEDIUMTEXT NOT NULL,
    KEY sale_journal_of_sale (sale_no, seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The outbox in two steps; see schema.postgresql.sql.
CREATE TABLE IF NOT EXISTS new_events (
    id       BIGINT   NOT NULL AUTO_INCREMENT PRIMARY KEY,
    order_id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version  BIGINT   NOT NULL,
    status   SMALLINT NOT NULL,
    at       BIGINT   NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS outbox_head (
    only_row INT    NOT NULL PRIMARY KEY,
    last_seq BIGINT NOT NULL
) ENGINE = InnoDB;
INSERT IGNORE INTO outbox_head (only_row, last_seq) VALUES (1, 0);

CREATE TABLE IF NOT EXISTS events (
    seq      BIGINT   NOT NULL PRIMARY KEY,
    order_id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version  BIGINT   NOT NULL,
    status   SMALLINT NOT NULL,
    at       BIGINT   NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS webhook_endpoints (
    no            INT             NOT NULL AUTO_INCREMENT PRIMARY KEY,
    url           VARBINARY(2048) NOT NULL UNIQUE,
    done_seq      BIGINT          NOT NULL,
    state         SMALLINT        NOT NULL,
    since         BIGINT          NOT NULL,
    reason        MEDIUMTEXT      NOT NULL,
    failing_since BIGINT,
    last_error    MEDIUMTEXT      NOT NULL,
    delivered     BIGINT          NOT NULL,
    revision      BIGINT          NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS webhook_aside (
    seq           BIGINT     NOT NULL,
    endpoint      INT        NOT NULL,
    state         SMALLINT   NOT NULL,
    attempts      BIGINT     NOT NULL,
    failing_since BIGINT,
    last_error    MEDIUMTEXT NOT NULL,
    PRIMARY KEY (seq, endpoint)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
