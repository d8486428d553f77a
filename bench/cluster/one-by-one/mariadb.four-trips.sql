START TRANSACTION;
UPDATE sales SET sold = sold + 1 WHERE id = 1 AND sold < stock;
INSERT INTO orders (sale_id, user_id, quantity) VALUES (1, CONCAT('buyer-', UUID_SHORT()), 1);
COMMIT
