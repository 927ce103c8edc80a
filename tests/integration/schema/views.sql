-- Views that versions before 16 write in another way than later ones; nothing of it may reach a fact.
CREATE VIEW app.v1 AS SELECT o.id, o.total * 2 AS twice FROM app.orders AS o WHERE o.total > 1 ORDER BY o.made DESC LIMIT 3;
CREATE VIEW app.v3 AS SELECT DISTINCT ON (customer) customer, made, row_number() OVER (PARTITION BY status ORDER BY total) AS n FROM app.orders;
CREATE VIEW app.v4 AS SELECT status, count(*) FILTER (WHERE total > 1) AS n FROM ONLY app.orders GROUP BY status HAVING count(*) > 1;
CREATE VIEW app.v8 AS SELECT id FROM app.orders UNION ALL SELECT id FROM app.customers;
CREATE VIEW app.v9 AS SELECT orders.id, 'orders.x is' AS said, (place).town FROM app.orders, app.customers;
CREATE VIEW app.v11 AS SELECT (place).town, customers.* FROM app.customers WHERE extract(year FROM lower(period)) > 2000;
CREATE VIEW app.v12 AS SELECT o AS whole, o.id FROM app.orders o;
CREATE MATERIALIZED VIEW app.v14 AS SELECT orders.id FROM app.orders WHERE orders.id > 3;
CREATE VIEW app.v15 AS SELECT CASE WHEN total > 1 THEN 'orders.id' ELSE status::text END AS x FROM app.orders;
