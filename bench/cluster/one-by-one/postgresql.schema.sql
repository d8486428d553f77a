-- The least that a shop needs: a row for the stock, a row for each order, no further index.
CREATE TABLE sales (id INTEGER PRIMARY KEY, stock BIGINT NOT NULL, sold BIGINT NOT NULL)
    WITH (fillfactor = 50); -- room for the hot row's next versions in the same page
CREATE TABLE orders (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sale_id    INTEGER     NOT NULL,
    user_id    TEXT        NOT NULL,
    quantity   BIGINT      NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
INSERT INTO sales VALUES (1, 1000000000, 0);
