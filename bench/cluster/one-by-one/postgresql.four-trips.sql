\set buyer random(1, 1000000000)
BEGIN;
UPDATE sales SET sold = sold + 1 WHERE id = 1 AND sold < stock;
INSERT INTO orders (sale_id, user_id, quantity) VALUES (1, 'buyer-' || :buyer, 1);
COMMIT;
