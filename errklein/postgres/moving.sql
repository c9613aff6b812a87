-- What only one of the two databases has, when all data moves between them.

-- query before arrival: a table of SQLite, with the highest id of a delivery that was removed.
CREATE TEMPORARY TABLE removed_ids (last bigint) ON COMMIT DROP

-- query after arrival: numbers go on, and unfinished deliveries are in the queue, in their order.
SELECT setval('delivery_ids', greatest((SELECT max(id) FROM deliveries), (SELECT last FROM removed_ids), 1));
SELECT setval(pg_get_serial_sequence('routes', 'id'), coalesce(max(id), 0) + 1, false) FROM routes;
SELECT setval(pg_get_serial_sequence('runs', 'id'), coalesce(max(id), 0) + 1, false) FROM runs;
SELECT setval(pg_get_serial_sequence('actions', 'id'), coalesce(max(id), 0) + 1, false) FROM actions;
WITH sent AS MATERIALIZED (
    SELECT id, pgmq.send(
        'errklein', jsonb_build_object('id', id, 'route', route), to_timestamp(CASE WHEN state <> 1 THEN due_at ELSE 0 END)
    ) AS message
    FROM (SELECT id, route, state, coalesce(due_at, 0) AS due_at FROM deliveries WHERE state < 3 ORDER BY id) AS unfinished
)
UPDATE deliveries SET message = sent.message FROM sent WHERE deliveries.id = sent.id

-- query before departure: no later id was given to a delivery.
CREATE TEMPORARY TABLE removed_ids ON COMMIT DROP AS SELECT last_value + 10000 AS last FROM delivery_ids
