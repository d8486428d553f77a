-- Every statement of the order store, by name. CMake turns this file into sql_text.h.

-- name: select_schema_version
SELECT schema_version FROM doorbuster_schema;

-- name: select_log
SELECT log_id, next FROM order_log;

-- name: insert_log
INSERT INTO order_log (log_id, next) VALUES (:log_id, 1);

-- name: move_position
UPDATE order_log SET next = :next WHERE next = :from;

-- name: insert_sale
INSERT INTO sales (id, title, stock, per_user_limit, per_user_limit_ever, starts_at, ends_at, price,
                   currency, payment_timeout_ms, paused, closed_at, terms_version, created_as)
VALUES (:id, :title, :stock, :per_user_limit, :limit_ever, :starts_at, :ends_at, :price, :currency,
        :payment_timeout_ms, :paused, :closed_at, :terms_version, :created_as);

-- name: update_terms
UPDATE sales
SET title = :title, stock = :stock, per_user_limit = :per_user_limit,
    per_user_limit_ever = CASE WHEN per_user_limit_ever < :limit_ever THEN :limit_again
                               ELSE per_user_limit_ever END,
    starts_at = :starts_at, ends_at = :ends_at, price = :price, currency = :currency,
    payment_timeout_ms = :payment_timeout_ms, paused = :paused, closed_at = :closed_at,
    terms_version = :terms_version, version = version + 1
WHERE no = :no AND terms_version = :old_version;

-- name: select_sale_columns
SELECT no, id, title, stock, per_user_limit, starts_at, ends_at, price, currency,
       payment_timeout_ms, paused, closed_at, terms_version, sold, epoch, barrier_epoch,
       log_accepted_orders, log_accepted_units, per_user_limit_ever, voided_orders,
       created_as
FROM sales

-- name: raise_epoch_of_all
UPDATE sales SET epoch = epoch + 1, version = version + 1;

-- name: raise_epoch
UPDATE sales SET epoch = epoch + 1, version = version + 1 WHERE no = :no;

-- name: select_change_request
SELECT request FROM sale_changes WHERE sale_no = :no AND change_key = :key;

-- name: insert_change
INSERT INTO sale_changes (sale_no, change_key, request) VALUES (:no, :key, :request);

-- name: insert_order
INSERT INTO orders (id, sale_no, user_id, quantity, status, created_at, idempotency_key)
VALUES (:id, :sale_no, :user_id, :quantity, 2, :created_at, :idempotency_key)
ON CONFLICT (id) DO NOTHING;

-- name: select_guard
SELECT version, barrier_epoch FROM sales WHERE no = :no;

-- name: move_stock
UPDATE sales
SET sold = sold + :units, log_accepted_orders = log_accepted_orders + :orders,
    log_accepted_units = log_accepted_units + :accepted_units, barrier_epoch = :barrier_epoch,
    voided_orders = voided_orders + :voided, version = version + 1
WHERE no = :no AND version = :version AND sold + :more_units <= stock;

-- name: refuse_order
UPDATE orders SET status = 6, version = version + 1 WHERE id = :id;

-- name: insert_dead_letter
INSERT INTO dead_letters (order_id, sale_no, user_id, quantity, idempotency_key, cause)
VALUES (:order_id, :sale_no, :user_id, :quantity, :idempotency_key, :cause)
ON CONFLICT (order_id) DO NOTHING;

-- name: sum_dead_letters
SELECT count(*), coalesce(sum(quantity), 0) FROM dead_letters WHERE sale_no = :sale_no;

-- name: select_dead_letters
SELECT order_id, user_id, idempotency_key, quantity FROM dead_letters WHERE sale_no = :sale_no;

-- name: select_order_columns
SELECT id, user_id, quantity, status, expires_at, paid_at, payment_ref, idempotency_key, version
FROM orders

-- name: select_orders_for_rebuild
SELECT id, user_id, idempotency_key, quantity, status
FROM orders WHERE id >= :lowest AND id <= :highest ORDER BY id;

-- name: sum_orders_by_status
SELECT status, count(*), sum(quantity)
FROM orders WHERE id >= :lowest AND id <= :highest GROUP BY status;

-- name: select_users_over_limit
SELECT user_id, sum(quantity) AS units
FROM orders WHERE id >= :lowest AND id <= :highest AND status IN (2, 3)
GROUP BY user_id HAVING sum(quantity) > :per_user_limit ORDER BY units DESC LIMIT 5;
