-- PostgreSQL's own texts of the statements in queries.sql. A parameter that is cast to an array is
-- a column of many rows. Transactions that write lock the rows that they decide by, in one order
-- (position, sales by number, orders by id), so READ COMMITTED is enough for them.

-- name: set_up_session
SELECT set_config('statement_timeout', '300s', false),
       set_config('lock_timeout', '10s', false),
       set_config('idle_in_transaction_session_timeout', '30s', false),
       set_config('tcp_keepalives_idle', '10', false),
       set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false),
       set_config('client_min_messages', 'error', false),
       set_config('client_encoding', 'UTF8', false),
       set_config('standard_conforming_strings', 'on', false),
       set_config('default_transaction_read_only', :read_only, false);

-- name: begin_read
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: begin_write
BEGIN ISOLATION LEVEL READ COMMITTED;

-- name: lock_clause
FOR UPDATE

-- name: select_now
SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT);

-- name: lock_schema
SELECT 1 FROM (SELECT pg_advisory_xact_lock(721846353, hashtext(current_schema()))) AS locked;

-- name: count_schema_tables
SELECT count(*) FROM information_schema.tables
WHERE table_name = 'doorbuster_schema' AND table_schema = current_schema();

-- name: lock_sales
SELECT no FROM sales ORDER BY no FOR UPDATE;

-- name: insert_order
INSERT INTO orders (id, sale_no, user_id, quantity, status, created_at, expires_at, idempotency_key)
SELECT id, sale_no, user_id, quantity, 2, created_at, expires_at, idempotency_key
FROM unnest(CAST(:id AS TEXT[]), CAST(:sale_no AS INTEGER[]), CAST(:user_id AS TEXT[]),
            CAST(:quantity AS BIGINT[]), CAST(:created_at AS BIGINT[]),
            CAST(:expires_at AS BIGINT[]), CAST(:idempotency_key AS TEXT[]))
     AS r (id, sale_no, user_id, quantity, created_at, expires_at, idempotency_key);

-- name: select_stored
SELECT id FROM orders WHERE id = ANY (CAST(:id AS TEXT[]))
UNION ALL
SELECT order_id FROM dead_letters WHERE order_id = ANY (CAST(:id AS TEXT[]));

-- name: select_guard
SELECT no, version, barrier_epoch, payment_timeout_ms,
       CASE WHEN EXISTS (SELECT 1 FROM dead_letters d WHERE d.sale_no = no) THEN 1 ELSE 0 END
FROM sales WHERE no = ANY (CAST(:no AS INTEGER[])) ORDER BY no FOR UPDATE;

-- name: move_stock
UPDATE sales
SET sold = sales.sold + r.units, log_accepted_orders = sales.log_accepted_orders + r.orders,
    log_accepted_units = sales.log_accepted_units + r.accepted_units,
    barrier_epoch = r.barrier_epoch, voided_orders = sales.voided_orders + r.voided,
    version = sales.version + 1
FROM unnest(CAST(:no AS INTEGER[]), CAST(:version AS BIGINT[]), CAST(:units AS BIGINT[]),
            CAST(:orders AS BIGINT[]), CAST(:accepted_units AS BIGINT[]),
            CAST(:barrier_epoch AS BIGINT[]), CAST(:voided AS BIGINT[]))
     AS r (no, version, units, orders, accepted_units, barrier_epoch, voided)
WHERE sales.no = r.no AND sales.version = r.version AND sales.sold + r.units <= sales.stock;

-- name: insert_give_back
INSERT INTO give_backs (order_id, sale_no)
SELECT order_id, sale_no
FROM unnest(CAST(:order_id AS TEXT[]), CAST(:sale_no AS INTEGER[])) AS r (order_id, sale_no)
ON CONFLICT (order_id) DO NOTHING;

-- name: insert_give_back_of_final
INSERT INTO give_backs (order_id, sale_no)
SELECT id, sale_no FROM orders
WHERE id = ANY (CAST(:id AS TEXT[])) AND status IN (4, 5, 6)
ON CONFLICT (order_id) DO NOTHING;

-- name: delete_give_back
DELETE FROM give_backs WHERE order_id = ANY (CAST(:order_id AS TEXT[]));

-- name: lock_order
SELECT id, user_id, quantity, status, expires_at, paid_at, payment_ref, idempotency_key, version
FROM orders WHERE id = ANY (CAST(:id AS TEXT[])) ORDER BY id FOR UPDATE;

-- name: change_order
UPDATE orders
SET status = r.status, paid_at = r.paid_at, payment_ref = r.payment_ref, version = r.version
FROM unnest(CAST(:id AS TEXT[]), CAST(:old_version AS BIGINT[]), CAST(:status AS SMALLINT[]),
            CAST(:paid_at AS BIGINT[]), CAST(:payment_ref AS TEXT[]), CAST(:version AS BIGINT[]))
     AS r (id, old_version, status, paid_at, payment_ref, version)
WHERE orders.id = r.id AND orders.version = r.old_version;

-- name: select_due
SELECT id, quantity, version FROM orders
WHERE status = 2 AND expires_at IS NOT NULL AND expires_at <= :now
ORDER BY expires_at LIMIT :rows FOR UPDATE SKIP LOCKED;

-- name: expire_order
UPDATE orders SET status = 5, version = version + 1
WHERE id = ANY (CAST(:id AS TEXT[])) AND status = 2;

-- name: refuse_orders
UPDATE orders SET status = 6, version = version + 1 WHERE id = ANY (CAST(:id AS TEXT[]));

-- name: insert_event
INSERT INTO new_events (order_id, version, status, at)
SELECT order_id, version, status, at
FROM unnest(CAST(:order_id AS TEXT[]), CAST(:version AS BIGINT[]), CAST(:status AS SMALLINT[]),
            CAST(:at AS BIGINT[])) AS r (order_id, version, status, at);

-- name: take_lead
SELECT CASE WHEN pg_try_advisory_lock(721846354, hashtext(current_schema())) THEN 1 ELSE 0 END;

-- name: lock_outbox
SELECT last_seq FROM outbox_head FOR UPDATE;

-- name: select_new_events
SELECT id, order_id, version, status, at FROM new_events ORDER BY id LIMIT :rows;

-- name: insert_numbered
INSERT INTO events (seq, order_id, version, status, at)
SELECT seq, order_id, version, status, at
FROM unnest(CAST(:seq AS BIGINT[]), CAST(:order_id AS TEXT[]), CAST(:version AS BIGINT[]),
            CAST(:status AS SMALLINT[]), CAST(:at AS BIGINT[]))
     AS r (seq, order_id, version, status, at);

-- name: delete_new_event
DELETE FROM new_events WHERE id = ANY (CAST(:id AS BIGINT[]));

-- name: move_outbox
UPDATE outbox_head SET last_seq = :last_seq;

-- name: delete_event
DELETE FROM events WHERE seq = ANY (CAST(:seq AS BIGINT[]));

-- name: delete_aside_of_event
DELETE FROM webhook_aside WHERE seq = ANY (CAST(:seq AS BIGINT[]));
