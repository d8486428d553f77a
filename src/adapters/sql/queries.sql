-- Every statement of the order store, by name. queries.postgresql.sql and queries.mysql.sql have
-- their own text where SQLite's is not theirs. Rows are written many at once: SQLite runs a
-- statement for every row, the others get all rows in the one statement (adapters/sql/rows.h).
-- CMake turns these files into sql_text.h. No colon stands in a comment below: SOCI reads names
-- of parameters there, too.

-- name: begin_read
BEGIN;

-- name: begin_write
BEGIN IMMEDIATE;

-- name: count_schema_tables
SELECT count(*) FROM sqlite_master WHERE name = 'doorbuster_schema';

-- name: select_schema_version
SELECT schema_version FROM doorbuster_schema;

-- name: insert_schema_version
INSERT INTO doorbuster_schema (schema_version) VALUES (:version);

-- name: update_schema_version
UPDATE doorbuster_schema SET schema_version = :version;

-- name: select_log
SELECT log_id FROM order_log;

-- name: insert_log
INSERT INTO order_log (log_id) VALUES (:log_id);

-- name: select_positions
SELECT log_partition, next FROM log_positions;

-- name: move_position
UPDATE log_positions SET next = :next
WHERE log_partition = :log_partition AND next = :from_position
  AND EXISTS (SELECT 1 FROM order_log);

-- name: insert_position
INSERT INTO log_positions (log_partition, next)
SELECT CAST(:log_partition AS INTEGER), 1 FROM order_log WHERE true
ON CONFLICT (log_partition) DO NOTHING;

-- name: select_position
SELECT next FROM log_positions WHERE log_partition = :log_partition;

-- name: insert_sale
INSERT INTO sales (id, title, stock, per_user_limit, per_user_limit_ever, starts_at, ends_at, price,
                   currency, payment_timeout_ms, paused, closed_at, terms_version, created_as,
                   log_partition)
VALUES (:id, :title, :stock, :per_user_limit, :limit_ever, :starts_at, :ends_at, :price, :currency,
        :payment_timeout_ms, :paused, :closed_at, :terms_version, :created_as, :log_partition);

-- name: update_terms
UPDATE sales
SET title = :title, stock = :stock, per_user_limit = :per_user_limit,
    per_user_limit_ever = CASE WHEN per_user_limit_ever < :limit_ever THEN :limit_ever
                               ELSE per_user_limit_ever END,
    starts_at = :starts_at, ends_at = :ends_at, price = :price, currency = :currency,
    payment_timeout_ms = :payment_timeout_ms, paused = :paused, closed_at = :closed_at,
    terms_version = :terms_version, version = version + 1
WHERE no = :no AND terms_version = :old_version;

-- name: select_sale_columns
SELECT no, id, title, stock, per_user_limit, starts_at, ends_at, price, currency,
       payment_timeout_ms, paused, closed_at, terms_version, sold, epoch, barrier_epoch,
       log_accepted_orders, log_accepted_units, per_user_limit_ever, voided_orders, created_as,
       log_partition
FROM sales

-- name: raise_epoch_of_all
UPDATE sales SET epoch = epoch + 1, version = version + 1;

-- name: raise_epoch
UPDATE sales SET epoch = epoch + 1, version = version + 1 WHERE no = :no;

-- name: select_change_request
SELECT request FROM sale_changes WHERE sale_no = :no AND change_key = :key;

-- name: insert_change
INSERT INTO sale_changes (sale_no, change_key, request) VALUES (:no, :key, :request);

-- name: insert_journal
INSERT INTO sale_journal (sale_no, at, who, what, before_terms, after_terms)
VALUES (:no, :at, :who, :what, :before, :after);

-- name: select_journal
SELECT seq, at, who, what, before_terms, after_terms
FROM sale_journal WHERE sale_no = :no AND seq > :seq ORDER BY seq LIMIT :rows;

-- name: count_journal
SELECT count(*) FROM sale_journal
WHERE sale_no = :no AND at = :at AND who = :who AND what = :what AND before_terms = :before
  AND after_terms = :after;

-- name: insert_withdrawal
INSERT INTO withdrawals (id, sale_no, units) VALUES (:id, :no, :units);

-- name: select_withdrawal
SELECT count(*) FROM withdrawals WHERE id = :id;

-- name: lower_stock
UPDATE sales
SET stock = stock - :units, terms_version = terms_version + 1, version = version + 1
WHERE no = :no AND version = :version AND sold + :units <= stock;

-- name: insert_order
INSERT INTO orders (id, sale_no, user_id, quantity, status, created_at, expires_at, idempotency_key)
VALUES (:id, :sale_no, :user_id, :quantity, 2, :created_at, :expires_at, :idempotency_key);

-- name: select_stored
SELECT id FROM orders WHERE id = :id
UNION ALL
SELECT order_id FROM dead_letters WHERE order_id = :id;

-- name: select_guard
SELECT no, version, barrier_epoch, payment_timeout_ms,
       CASE WHEN EXISTS (SELECT 1 FROM dead_letters d WHERE d.sale_no = no) THEN 1 ELSE 0 END
FROM sales WHERE no = :no;

-- name: move_stock
UPDATE sales
SET sold = sold + :units, log_accepted_orders = log_accepted_orders + :orders,
    log_accepted_units = log_accepted_units + :accepted_units, barrier_epoch = :barrier_epoch,
    voided_orders = voided_orders + :voided, version = version + 1
WHERE no = :no AND version = :version AND sold + :units <= stock;

-- name: select_stock
SELECT stock, sold, version FROM sales WHERE no = :no;

-- name: overwrite_stock
UPDATE sales
SET sold = :sold, log_accepted_orders = log_accepted_orders + 1,
    log_accepted_units = log_accepted_units + :units, version = version + 1
WHERE no = :no;

-- name: move_seen_stock
UPDATE sales
SET sold = CASE WHEN sold + :units > stock THEN stock ELSE sold + :units END,
    log_accepted_orders = log_accepted_orders + 1,
    log_accepted_units = log_accepted_units + :units, version = version + 1
WHERE no = :no AND version = :version;

-- name: count_refused
UPDATE sales
SET log_accepted_orders = log_accepted_orders + :orders,
    log_accepted_units = log_accepted_units + :units
WHERE no = :no;

-- name: refuse_orders
UPDATE orders SET status = 6, version = version + 1 WHERE id = :id;

-- name: refuse_order
UPDATE orders SET status = 6, version = version + 1 WHERE id = :id;

-- name: insert_give_back
INSERT INTO give_backs (order_id, sale_no) VALUES (:order_id, :sale_no)
ON CONFLICT (order_id) DO NOTHING;

-- name: insert_give_back_of_final
INSERT INTO give_backs (order_id, sale_no)
SELECT id, sale_no FROM orders WHERE id = :id AND status IN (4, 5, 6)
ON CONFLICT (order_id) DO NOTHING;

-- name: select_give_backs
SELECT order_id, sale_no FROM give_backs WHERE order_id > :after ORDER BY order_id LIMIT :rows;

-- name: count_give_backs
SELECT count(*) FROM give_backs WHERE order_id >= :lowest AND order_id <= :highest;

-- name: delete_give_back
DELETE FROM give_backs WHERE order_id = :order_id;

-- name: change_order
UPDATE orders
SET status = :status, paid_at = :paid_at, payment_ref = :payment_ref, version = :version
WHERE id = :id AND version = :old_version;

-- name: select_due
SELECT id, quantity, version FROM orders
WHERE status = 2 AND expires_at IS NOT NULL AND expires_at <= :now
ORDER BY expires_at LIMIT :rows;

-- name: select_next_due
SELECT min(expires_at) FROM orders WHERE status = 2 AND expires_at IS NOT NULL;

-- name: expire_order
UPDATE orders SET status = 5, version = version + 1 WHERE id = :id AND status = 2;

-- name: give_units_back
UPDATE sales SET sold = sold - :units, version = version + 1 WHERE no = :no;

-- name: lock_order
SELECT id, user_id, quantity, status, expires_at, paid_at, payment_ref, idempotency_key, version
FROM orders WHERE id = :id;

-- name: take_units
UPDATE sales
SET sold = sold + :units, log_accepted_orders = log_accepted_orders + :orders,
    log_accepted_units = log_accepted_units + :accepted_units, version = version + 1
WHERE no = :no;

-- name: insert_event
INSERT INTO events (order_id, version, status, at) VALUES (:order_id, :version, :status, :at);

-- name: insert_dead_letter
INSERT INTO dead_letters (order_id, sale_no, user_id, quantity, idempotency_key, cause, is_counted,
                          raw, set_aside_at)
VALUES (:order_id, :sale_no, :user_id, :quantity, :idempotency_key, :cause, :is_counted, :raw,
        :set_aside_at);

-- name: sum_dead_letters
SELECT coalesce(sum(CASE WHEN dropped_at IS NULL THEN 1 ELSE 0 END), 0),
       coalesce(sum(CASE WHEN dropped_at IS NULL THEN quantity ELSE 0 END), 0),
       coalesce(sum(CASE WHEN dropped_at IS NULL THEN 0 ELSE 1 END), 0),
       coalesce(sum(CASE WHEN dropped_at IS NULL THEN 0 ELSE quantity END), 0)
FROM dead_letters WHERE sale_no = :sale_no AND is_counted = 1;

-- name: select_dead_letter
SELECT user_id, idempotency_key, quantity, CASE WHEN dropped_at IS NULL THEN 0 ELSE 1 END
FROM dead_letters WHERE order_id = :id;

-- name: select_dead_letters
SELECT order_id, user_id, idempotency_key, quantity
FROM dead_letters
WHERE sale_no = :sale_no AND is_counted = 1 AND dropped_at IS NULL AND order_id > :after
ORDER BY order_id LIMIT :rows;

-- name: select_letter_columns
SELECT order_id, sale_no, user_id, idempotency_key, quantity, cause, is_counted, raw,
       set_aside_at, dropped_at, drop_cause
FROM dead_letters

-- name: delete_dead_letter
DELETE FROM dead_letters WHERE order_id = :id;

-- name: drop_dead_letter
UPDATE dead_letters SET dropped_at = :now, drop_cause = :cause
WHERE order_id = :id AND dropped_at IS NULL;

-- name: select_order_columns
SELECT id, user_id, quantity, status, expires_at, paid_at, payment_ref, idempotency_key, version
FROM orders

-- name: select_last_looked_at
SELECT id FROM orders WHERE id > :after AND id <= :highest ORDER BY id LIMIT 1 OFFSET :rows;

-- name: select_orders_for_rebuild
SELECT id, user_id, idempotency_key, quantity, status
FROM orders WHERE id > :after AND id <= :highest ORDER BY id LIMIT :rows;

-- name: sum_orders_by_status
SELECT status, count(*), sum(quantity)
FROM orders WHERE id >= :lowest AND id <= :highest GROUP BY status;

-- name: select_users_over_limit
SELECT user_id, sum(quantity) AS units
FROM orders WHERE id >= :lowest AND id <= :highest AND status IN (2, 3)
GROUP BY user_id HAVING sum(quantity) > :per_user_limit ORDER BY units DESC LIMIT 5;

-- name: select_endpoint_columns
SELECT no, url, done_seq, state, since, reason, failing_since, last_error, delivered, revision,
       (SELECT count(*) FROM webhook_aside a WHERE a.endpoint = no AND a.state = 2)
FROM webhook_endpoints

-- name: insert_endpoint
INSERT INTO webhook_endpoints (url, done_seq, state, since, reason, failing_since, last_error,
                               delivered)
VALUES (:url, (SELECT coalesce(max(seq), 0) FROM events), 1, :since, '', NULL, '', 0);

-- name: activate_endpoint
UPDATE webhook_endpoints
SET since = CASE WHEN state = 1 THEN since ELSE :since END, state = 1, reason = '',
    failing_since = NULL, revision = revision + 1
WHERE no = :no;

-- name: remove_endpoint
UPDATE webhook_endpoints SET state = 3, since = :since WHERE no = :no AND state <> 3;

-- name: forget_endpoint
DELETE FROM webhook_endpoints WHERE no = :no;

-- name: forget_aside
DELETE FROM webhook_aside WHERE endpoint = :endpoint AND seq > :seq;

-- name: save_endpoint
UPDATE webhook_endpoints
SET done_seq = :done_seq, state = :state, since = :since, reason = :reason,
    failing_since = :failing_since, last_error = :last_error, delivered = :delivered
WHERE no = :no AND revision = :revision;

-- name: move_endpoint
UPDATE webhook_endpoints SET done_seq = :done_seq WHERE no = :no;

-- name: set_aside
INSERT INTO webhook_aside (seq, endpoint, state, attempts, failing_since, last_error)
VALUES (:seq, :endpoint, :state, :attempts, :failing_since, :last_error)
ON CONFLICT (seq, endpoint) DO UPDATE
SET state = excluded.state, attempts = excluded.attempts, failing_since = excluded.failing_since,
    last_error = excluded.last_error;

-- name: delete_aside
DELETE FROM webhook_aside WHERE seq = :seq AND endpoint = :endpoint;

-- name: delete_parked_behind
DELETE FROM webhook_aside WHERE endpoint = :endpoint AND state = 2 AND seq > :seq;

-- name: retry_parked
UPDATE webhook_aside SET state = 1, attempts = 0, failing_since = NULL
WHERE endpoint = :endpoint AND state = 2;

-- name: select_last_event
SELECT coalesce(max(seq), 0) FROM events;

-- name: select_event_named
SELECT coalesce(max(seq), 0) FROM events WHERE order_id = :order_id AND version = :version;

-- name: select_event_since
SELECT seq FROM events WHERE at >= :since ORDER BY seq LIMIT 1;

-- name: select_events
SELECT e.seq, e.order_id, e.version, e.status, e.at, o.user_id, o.quantity, o.expires_at,
       o.paid_at, o.payment_ref, s.id
FROM events e
JOIN orders o ON o.id = e.order_id
JOIN sales s ON s.no = o.sale_no
WHERE e.seq > :seq
  AND NOT EXISTS (SELECT 1 FROM webhook_aside a WHERE a.seq = e.seq AND a.endpoint = :endpoint)
ORDER BY e.seq LIMIT :rows;

-- name: select_aside_events
SELECT e.seq, e.order_id, e.version, e.status, e.at, o.user_id, o.quantity, o.expires_at,
       o.paid_at, o.payment_ref, s.id, a.attempts, a.failing_since, a.last_error
FROM webhook_aside a
JOIN events e ON e.seq = a.seq
JOIN orders o ON o.id = e.order_id
JOIN sales s ON s.no = o.sale_no
WHERE a.seq > :seq AND a.endpoint = :endpoint AND a.state = :state
ORDER BY a.seq LIMIT :rows;

-- name: select_lowest_done
SELECT min(done_seq) FROM webhook_endpoints WHERE state = 1;

-- name: select_prunable
SELECT e.seq, e.at,
       CASE WHEN EXISTS (SELECT 1 FROM webhook_aside a JOIN webhook_endpoints w ON w.no = a.endpoint
                         WHERE a.seq = e.seq AND a.state = 1 AND w.state = 1) THEN 1 ELSE 0 END
FROM events e WHERE e.seq <= :seq ORDER BY e.seq LIMIT :rows;

-- name: delete_event
DELETE FROM events WHERE seq = :seq;

-- name: delete_aside_of_event
DELETE FROM webhook_aside WHERE seq = :seq;
