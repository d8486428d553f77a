-- The texts of MySQL and MariaDB where they differ from those in queries.sql. :many_rows is a JSON
-- array with an object for every row. Transactions that write lock the rows that they decide by,
-- in one order (position, sales by number, orders by id), so READ COMMITTED is enough for them.
-- An UPDATE tells how many rows it found, whether it changed them or not.

-- wait_timeout ends a connection whose other end died with its machine, and with it its locks and
-- its lead of the outbox; one that only idled is made again.
-- name: set_up_session
SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO',
            time_zone = '+00:00', autocommit = 1, innodb_lock_wait_timeout = 10,
            tx_isolation = 'READ-COMMITTED', max_statement_time = 300,
            idle_transaction_timeout = 30, wait_timeout = 120;

-- name: set_up_session_of_mysql
SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO',
            time_zone = '+00:00', autocommit = 1, innodb_lock_wait_timeout = 10,
            transaction_isolation = 'READ-COMMITTED', max_execution_time = 300000,
            wait_timeout = 120;

-- name: select_version
SELECT version();

-- name: set_up_read_only
SET SESSION TRANSACTION READ ONLY;

-- name: isolate_read
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: begin_read
START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;

-- name: begin_write
START TRANSACTION;

-- name: lock_clause
FOR UPDATE

-- name: select_now
SELECT CAST(floor(unix_timestamp(sysdate(3)) * 1000) AS SIGNED);

-- name: lock_schema
SELECT coalesce(get_lock(concat('doorbuster.', md5(database())), 20), 0);

-- name: unlock_schema
SELECT release_lock(concat('doorbuster.', md5(database())));

-- name: count_schema_tables
SELECT count(*) FROM information_schema.tables
WHERE table_name = 'doorbuster_schema' AND table_schema = database();

-- name: insert_position
INSERT IGNORE INTO log_positions (log_partition, next) SELECT :log_partition, 1 FROM order_log;

-- name: lock_sales
SELECT no FROM sales ORDER BY no FOR UPDATE;

-- name: insert_order
INSERT INTO orders (id, sale_no, user_id, quantity, status, created_at, expires_at, due_at,
                    idempotency_key)
SELECT id, sale_no, user_id, quantity, 2, created_at, expires_at, expires_at, idempotency_key
FROM json_table(:many_rows, '$[*]' COLUMNS (
    id CHAR(32) PATH '$.id', sale_no INT PATH '$.sale_no',
    user_id MEDIUMTEXT CHARACTER SET utf8mb4 PATH '$.user_id',
    quantity BIGINT PATH '$.quantity', created_at BIGINT PATH '$.created_at',
    expires_at BIGINT PATH '$.expires_at',
    idempotency_key MEDIUMTEXT CHARACTER SET utf8mb4 PATH '$.idempotency_key'
)) AS r;

-- name: select_stored
SELECT r.id
FROM json_table(:many_rows, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PATH '$.id'
)) AS r
WHERE EXISTS (SELECT 1 FROM orders o WHERE o.id = r.id)
   OR EXISTS (SELECT 1 FROM dead_letters d WHERE d.order_id = r.id);

-- name: select_guard
SELECT s.no, s.version, s.barrier_epoch, s.payment_timeout_ms,
       CASE WHEN EXISTS (SELECT 1 FROM dead_letters d WHERE d.sale_no = s.no) THEN 1 ELSE 0 END
FROM json_table(:many_rows, '$[*]' COLUMNS (no INT PATH '$.no')) AS r
STRAIGHT_JOIN sales s ON s.no = r.no
FOR UPDATE;

-- name: move_stock
UPDATE sales s
JOIN json_table(:many_rows, '$[*]' COLUMNS (
    no INT PATH '$.no', version BIGINT PATH '$.version', units BIGINT PATH '$.units',
    orders BIGINT PATH '$.orders', accepted_units BIGINT PATH '$.accepted_units',
    barrier_epoch BIGINT PATH '$.barrier_epoch', voided BIGINT PATH '$.voided'
)) AS r ON s.no = r.no AND s.version = r.version
SET s.sold = s.sold + r.units, s.log_accepted_orders = s.log_accepted_orders + r.orders,
    s.log_accepted_units = s.log_accepted_units + r.accepted_units,
    s.barrier_epoch = r.barrier_epoch, s.voided_orders = s.voided_orders + r.voided,
    s.version = s.version + 1
WHERE s.sold + r.units <= s.stock;

-- name: insert_give_back
INSERT INTO give_backs (order_id, sale_no)
SELECT r.order_id, r.sale_no
FROM json_table(:many_rows, '$[*]' COLUMNS (
    order_id CHAR(32) PATH '$.order_id', sale_no INT PATH '$.sale_no'
)) AS r
ON DUPLICATE KEY UPDATE give_backs.sale_no = r.sale_no;

-- name: insert_give_back_of_final
INSERT INTO give_backs (order_id, sale_no)
SELECT o.id, o.sale_no
FROM json_table(:many_rows, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PATH '$.id'
)) AS r
STRAIGHT_JOIN orders o ON o.id = r.id
WHERE o.status IN (4, 5, 6)
ON DUPLICATE KEY UPDATE give_backs.sale_no = o.sale_no;

-- name: delete_give_back
DELETE g
FROM json_table(:many_rows, '$[*]' COLUMNS (
    order_id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PATH '$.order_id'
)) AS r
STRAIGHT_JOIN give_backs g ON g.order_id = r.order_id;

-- name: lock_order
SELECT o.id, o.user_id, o.quantity, o.status, o.expires_at, o.paid_at, o.payment_ref,
       o.idempotency_key, o.version
FROM json_table(:many_rows, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PATH '$.id'
)) AS r
STRAIGHT_JOIN orders o ON o.id = r.id
FOR UPDATE;

-- name: change_order
UPDATE json_table(:many_rows, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PATH '$.id',
    old_version BIGINT PATH '$.old_version', status SMALLINT PATH '$.status',
    paid_at BIGINT PATH '$.paid_at',
    payment_ref MEDIUMTEXT CHARACTER SET utf8mb4 PATH '$.payment_ref',
    version BIGINT PATH '$.version'
)) AS r
STRAIGHT_JOIN orders o ON o.id = r.id AND o.version = r.old_version
SET o.status = r.status, o.paid_at = r.paid_at, o.payment_ref = r.payment_ref,
    o.version = r.version, o.due_at = NULL;

-- name: select_due
SELECT id, quantity, version FROM orders
WHERE due_at <= :now
ORDER BY due_at LIMIT :rows FOR UPDATE SKIP LOCKED;

-- name: select_next_due
SELECT min(due_at) FROM orders;

-- name: expire_order
UPDATE json_table(:many_rows, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PATH '$.id'
)) AS r
STRAIGHT_JOIN orders o ON o.id = r.id AND o.status = 2
SET o.status = 5, o.version = o.version + 1, o.due_at = NULL;

-- name: refuse_orders
UPDATE json_table(:many_rows, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PATH '$.id'
)) AS r
STRAIGHT_JOIN orders o ON o.id = r.id
SET o.status = 6, o.version = o.version + 1, o.due_at = NULL;

-- name: refuse_order
UPDATE orders SET status = 6, due_at = NULL, version = version + 1 WHERE id = :id;

-- name: insert_event
INSERT INTO new_events (order_id, version, status, at)
SELECT order_id, version, status, at
FROM json_table(:many_rows, '$[*]' COLUMNS (
    order_id CHAR(32) PATH '$.order_id', version BIGINT PATH '$.version',
    status SMALLINT PATH '$.status', at BIGINT PATH '$.at'
)) AS r;

-- name: take_lead
SELECT coalesce(get_lock(concat('doorbuster!', md5(database())), 0), 0);

-- name: lock_outbox
SELECT last_seq FROM outbox_head FOR UPDATE;

-- name: select_new_events
SELECT id, order_id, version, status, at FROM new_events ORDER BY id LIMIT :rows;

-- name: insert_numbered
INSERT INTO events (seq, order_id, version, status, at)
SELECT seq, order_id, version, status, at
FROM json_table(:many_rows, '$[*]' COLUMNS (
    seq BIGINT PATH '$.seq', order_id CHAR(32) PATH '$.order_id',
    version BIGINT PATH '$.version', status SMALLINT PATH '$.status', at BIGINT PATH '$.at'
)) AS r;

-- name: delete_new_event
DELETE e
FROM json_table(:many_rows, '$[*]' COLUMNS (id BIGINT PATH '$.id')) AS r
STRAIGHT_JOIN new_events e ON e.id = r.id;

-- name: move_outbox
UPDATE outbox_head SET last_seq = :last_seq;

-- name: set_aside
INSERT INTO webhook_aside (seq, endpoint, state, attempts, failing_since, last_error)
VALUES (:seq, :endpoint, :state, :attempts, :failing_since, :last_error)
ON DUPLICATE KEY UPDATE state = VALUES(state), attempts = VALUES(attempts),
                        failing_since = VALUES(failing_since), last_error = VALUES(last_error);

-- name: delete_event
DELETE e
FROM json_table(:many_rows, '$[*]' COLUMNS (seq BIGINT PATH '$.seq')) AS r
STRAIGHT_JOIN events e ON e.seq = r.seq;

-- name: delete_aside_of_event
DELETE a
FROM json_table(:many_rows, '$[*]' COLUMNS (seq BIGINT PATH '$.seq')) AS r
STRAIGHT_JOIN webhook_aside a ON a.seq = r.seq;
