\set buyer random(1, 1000000000)
WITH taken AS (UPDATE sales SET sold = sold + 1 WHERE id = 1 AND sold < stock RETURNING id)
INSERT INTO orders (sale_id, user_id, quantity) SELECT id, 'buyer-' || :buyer, 1 FROM taken;
