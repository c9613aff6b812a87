-- Queries of the journal that differ from those in errklein/journal/queries.sql, by the same names, and some that only PostgreSQL has.

-- query first id: lower ones were received before `:time`, others not, within about a second.
SELECT coalesce(
    (SELECT id FROM deliveries WHERE received_at >= :time ORDER BY received_at, id LIMIT 1),
    (SELECT coalesce(max(id), 0) + 1 FROM deliveries)
)

-- query totals: the numbers of `Total` in each step.
SELECT
    (floor(time / :step) * :step)::bigint, sum(accepted)::bigint, sum(refused)::bigint, sum(repeated)::bigint, sum(counted)::bigint,
    sum(failed)::bigint, sum(dead)::bigint
FROM (
    SELECT at::double precision AS time, accepted, refused, repeated, counted, 0 AS failed, 0 AS dead
    FROM totals WHERE at >= :since AND at < :until AND route IN (SELECT value FROM json_each(:routes))
    UNION ALL
    SELECT received_at, 0, 0, 0, 0, (state = 5)::integer, (state = 4)::integer FROM deliveries
    WHERE state IN (4, 5) AND superseded_by = 0 AND received_at >= :since AND received_at < :until
    AND route IN (SELECT value FROM json_each(:routes))
) AS numbers
GROUP BY 1

-- query of cause: the deliveries of some of these reasons; the braces stand for the index and its condition.
SELECT id, key, superseded_by FROM deliveries INDEXED BY {} AND state = :state AND route = (SELECT id FROM routes WHERE name = :webhook)
AND coalesce(status, 0) = :status AND coalesce(reason, '') IN (SELECT jsonb_array_elements_text(:reasons::jsonb)) AND received_at >= :since
ORDER BY superseded_by > 0, id DESC LIMIT 1000

-- query last requests: the latest id of each webhook, or of each that is named.
SELECT greatest(
    (SELECT max(id) FROM deliveries WHERE state < 3 AND route = routes.id),
    (SELECT max(id) FROM deliveries WHERE state >= 3 AND state = 3 AND route = routes.id),
    (SELECT max(id) FROM deliveries WHERE state >= 3 AND state = 4 AND route = routes.id),
    (SELECT max(id) FROM deliveries WHERE state >= 3 AND state = 5 AND route = routes.id),
    (SELECT max(id) FROM deliveries WHERE state >= 3 AND state = 6 AND route = routes.id),
    (SELECT max(id) FROM deliveries WHERE state >= 3 AND state = 7 AND route = routes.id)
) FROM routes WHERE :names::jsonb IS NULL OR name IN (SELECT jsonb_array_elements_text(:names::jsonb))

-- query by id or key: the id itself, and those by which the source's id is remembered.
SELECT :id UNION SELECT dedupe.id FROM routes JOIN dedupe ON dedupe.route = routes.id AND dedupe.key = :key

-- query balances: all as of one moment. What is older than the first total that is kept doesn't count.
WITH
    first AS (
        SELECT greatest(:since, coalesce((SELECT min(at) / 3600 * 3600 FROM totals), :until)) AS deliveries,
        greatest(:since, coalesce((SELECT min(at) FROM message_totals), :until)) AS messages
    ),
    added AS (
        SELECT coalesce(sum(accepted), 0)::bigint AS accepted, coalesce(sum(counted), 0)::bigint AS counted,
        coalesce(sum(aged), 0)::bigint AS aged, coalesce(sum(evicted), 0)::bigint AS evicted
        FROM totals WHERE at >= (SELECT deliveries FROM first) AND at < :until
    ),
    found AS (
        SELECT state, state = 4 AND status = 410 AND reason = :removed AS cancelled
        FROM deliveries WHERE state < 6 AND received_at >= (SELECT deliveries FROM first) AND received_at < :until
    ),
    killed AS (
        SELECT began, coalesce((SELECT min(began) FROM runs later WHERE later.id > runs.id), 0.0) AS again FROM runs
        WHERE ended IS NULL AND node NOT IN (SELECT hashtextextended(session, 0) FROM nodes)
    )
SELECT
    'deliveries', first.deliveries, accepted + counted,
    (
        SELECT json_build_object(
            'done', count(*) FILTER (WHERE state = 3), 'only counted', counted, 'failed', count(*) FILTER (WHERE state = 5),
            'dead', count(*) FILTER (WHERE state = 4 AND NOT cancelled), 'cancelled', count(*) FILTER (WHERE cancelled),
            'waiting', count(*) FILTER (WHERE state < 3), 'removed by age', aged, 'removed by size', evicted
        )::text FROM found
    ),
    (
        SELECT coalesce(json_agg(id), '[]')::text
        FROM (SELECT id FROM ledger WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.id = ledger.id) LIMIT 1000) AS missing
    ),
    (SELECT coalesce(json_agg(began), '[]')::text FROM killed WHERE began < :until AND (again = 0.0 OR again >= :since))
FROM first, added
UNION ALL
SELECT
    'messages', first.messages, coalesce(sum(accepted), 0)::bigint,
    json_build_object(
        'sent', coalesce(sum(sent), 0), 'dropped', coalesce(sum(dropped), 0), 'rejected', coalesce(sum(rejected), 0),
        'waiting', (SELECT count(*) FROM outbox WHERE accepted_at >= first.messages AND accepted_at < :until)
    )::text,
    (
        SELECT coalesce(json_agg(id), '[]')::text
        FROM (SELECT id FROM message_ledger WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.id = message_ledger.id) LIMIT 1000) AS missing
    ),
    '[]'
FROM first LEFT JOIN message_totals ON at >= first.messages AND at < :until GROUP BY first.messages

-- query end: of attempts, if this process still has their leases. The rows are id, state, due_at, status, reason, seconds, traceback.
WITH ended AS (
    UPDATE deliveries SET
        state = v.column2, due_at = v.column3, attempt = attempt - (v.column4 IS NULL)::integer,
        status = coalesce(v.column4::integer, status), reason = coalesce(v.column5::text, reason),
        seconds = coalesce(v.column6::double precision, seconds),
        size = size + CASE
            WHEN verified = 1 OR v.column4 IS NULL THEN 0 ELSE 100 + length(v.column5::text) + coalesce(length(v.column7::text), 0)
        END,
        answered = CASE WHEN answered = 0 AND origin = '' AND durable = 0 THEN coalesce(v.column4::integer, 0) ELSE answered END,
        traceback = CASE WHEN v.column4 IS NULL THEN traceback ELSE v.column7::text END
    FROM (VALUES {}) AS v WHERE deliveries.id = v.column1 AND state = 1 AND node = current_node()
    RETURNING state, message
)
SELECT pgmq.delete('errklein', (SELECT array_agg(message) FROM ended WHERE state >= 3))

-- query retry: let deliveries whose attempt has ended be seen after some seconds. The rows are id and seconds.
SELECT pgmq.set_vt('errklein', message, clock_timestamp() + make_interval(secs => greatest(v.column2, 0)::double precision))
FROM (VALUES {}) AS v JOIN deliveries ON deliveries.id = v.column1 AND state = 2 AND node = current_node()

-- query change messages: the rows are id, body, wanted, recipient, sent; NULL changes nothing.
UPDATE outbox SET body = coalesce(v.column2::bytea, body), wanted = coalesce(v.column3::bytea, wanted),
recipient = coalesce(v.column4::bytea, recipient), sent = coalesce(v.column5::double precision, sent)
FROM (VALUES {}) AS v WHERE outbox.id = v.column1

-- query remove deliveries: those of a query of ids. One that was replayed meanwhile stays.
DELETE FROM deliveries WHERE id IN ({}) AND state >= 3
RETURNING id, (floor(received_at / 3600) * 3600)::bigint, route, state < 6

-- query old: the deliveries that have ended, of some age. The clock of a process that was wrong doesn't matter to others.
SELECT id FROM deliveries WHERE state >= 3 AND received_at < :time ORDER BY received_at LIMIT {1}

-- query first refused: those of a webhook and reason.
SELECT id FROM deliveries WHERE state = 7 AND route = ? AND reason IS NOT DISTINCT FROM ? ORDER BY id LIMIT ? OFFSET ?

-- query remove actions: those of some age. A clock that is only this process's must not remove what the table's trigger keeps.
DELETE FROM actions
WHERE id IN (SELECT id FROM actions ORDER BY id LIMIT 256) AND at < least(?, extract(epoch FROM now())::double precision) - ?

-- query remove runs: those of some age, but the last one.
DELETE FROM runs
WHERE id < (SELECT max(id) FROM runs) AND began < least(?, extract(epoch FROM now())::double precision) - ?

-- query remove message_totals: those of some age.
DELETE FROM message_totals WHERE at < least(?, extract(epoch FROM now())::double precision) - ?

-- query known: deliveries with these routes and keys that aren't given up, or the ids of removed ones. The braces stand for columns and rows.
SELECT k.route, k.key, k.id, {}
FROM (VALUES {}) AS v JOIN dedupe k ON k.route = v.column1 AND k.key = v.column2 AND k.expires > v.column3
LEFT JOIN deliveries d ON d.id = k.id LEFT JOIN routes r ON r.id = d.route
WHERE d.state IS NULL OR d.state NOT IN (4, 5)

-- query lock keys: let other processes that record some of these keys wait for the end of this transaction.
SELECT pg_advisory_xact_lock(1701998180, number::integer) FROM unnest(translate(?, '[]', '{}')::bigint[]) AS number

-- query add totals: of minutes or hours, and routes.
INSERT INTO totals (at, route, accepted, refused, repeated, counted, aged, evicted)
SELECT column1, column2, sum(column3), sum(column4), sum(column5), sum(column6), sum(column7), sum(column8)
FROM (VALUES {}) AS v GROUP BY 1, 2
ON CONFLICT (at, route, node) DO UPDATE SET
accepted = totals.accepted + excluded.accepted, refused = totals.refused + excluded.refused,
repeated = totals.repeated + excluded.repeated, counted = totals.counted + excluded.counted,
aged = totals.aged + excluded.aged, evicted = totals.evicted + excluded.evicted

-- query add deliveries: new ones, those that are unfinished with a message.
INSERT INTO deliveries
SELECT
    column1, column2, column3, column4, column5, column6, column7, column8::double precision, column9, column10, column11,
    column12::integer, column13, column14::double precision, column15, column16, column17, column18, column19,
    CASE WHEN column3 < 3 THEN (
        SELECT pgmq.send('errklein', jsonb_build_object('id', column1, 'route', column2), CASE
            WHEN column3 <> 1 THEN clock_timestamp()
            WHEN column6 = 0 THEN 'infinity'
            ELSE clock_timestamp() + make_interval(secs => column8::double precision - column11)
        END)
    ) END,
    current_node()
FROM (VALUES {}) AS v

-- query read: lease messages of a webhook; the braces stand for a condition. It is what `pgmq.read` does, which would look at
-- all messages that others before them have, such as those of a paused webhook.
WITH seen AS (
    SELECT msg_id FROM deliveries JOIN pgmq.q_errklein AS q ON msg_id = deliveries.message
    WHERE deliveries.state < 3 AND deliveries.route = :route {} AND vt <= clock_timestamp()
    ORDER BY deliveries.id LIMIT :count FOR UPDATE OF q SKIP LOCKED
)
UPDATE pgmq.q_errklein AS q
SET vt = clock_timestamp() + make_interval(secs => :seconds::double precision), read_ct = read_ct + 1, last_read_at = clock_timestamp()
FROM seen WHERE q.msg_id = seen.msg_id RETURNING (q.message->>'id')::bigint, q.msg_id

-- query show: let messages be seen that wait for an impossible time: the server's clock was set back.
UPDATE pgmq.q_errklein AS q SET vt = clock_timestamp() FROM deliveries
WHERE deliveries.state < 3 AND deliveries.route = :route {} AND q.msg_id = deliveries.message
AND vt > clock_timestamp() + make_interval(secs => :furthest::double precision) AND vt < clock_timestamp() + interval '10 years'

-- query read deliveries: those of messages, unless another transaction changes them.
SELECT id, state, durable, coalesce(
    (SELECT length(body) FROM private p WHERE p.id = due.id), (SELECT length(body) FROM contents c WHERE c.id = due.id), 0
)
FROM deliveries AS due WHERE state < 3 AND id IN (SELECT value FROM json_each(?)) ORDER BY id FOR UPDATE SKIP LOCKED

-- query end lost: attempts whose leases have ended. After a repeated end, the wait is up to a maximum that doubles.
UPDATE deliveries
SET state = CASE WHEN durable = 1 THEN 2 ELSE 5 END, due_at = CASE WHEN durable = 1 AND reason = :reason THEN
    :now + 10.0 * (1 << least(attempt - 2, 8)) * ((id * 31 + attempt) * 7919 % 1000) / 1000 ELSE 0
END, status = 0, reason = :reason, seconds = 0, traceback = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) RETURNING id, state, due_at

-- query hide: messages for some seconds. The rows are message and seconds.
SELECT pgmq.set_vt('errklein', v.column1, clock_timestamp() + make_interval(secs => v.column2::double precision)) FROM (VALUES {}) AS v

-- query delete messages: ids.
SELECT pgmq.delete('errklein', translate(?, '[]', '{}')::bigint[])

-- query lease: begin an attempt.
UPDATE deliveries SET state = 1, attempt = attempt + 1, began_at = ?, due_at = CASE WHEN durable = 1 THEN ?::double precision END,
node = current_node() WHERE id IN (SELECT value FROM json_each(?))

-- query messages of: deliveries.
SELECT pgmq.delete('errklein', (SELECT array_agg(message) FROM deliveries WHERE id IN (SELECT value FROM json_each(?))))

-- query send again: deliveries. The rows are id and the seconds after which they are due.
UPDATE deliveries SET message = (
    SELECT pgmq.send(
        'errklein', jsonb_build_object('id', id, 'route', route), clock_timestamp() + make_interval(secs => v.column2::double precision)
    )
)
FROM (VALUES {}) AS v WHERE id = v.column1

-- query extend: leases of this process.
WITH extended AS (
    UPDATE deliveries SET due_at = :due_at
    WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 1 AND due_at IS NOT NULL AND node = current_node() RETURNING message
)
SELECT pgmq.set_vt(
    'errklein', (SELECT array_agg(message) FROM extended), clock_timestamp() + make_interval(secs => :seconds::double precision)
)

-- query lock route: let no other process lease in order before the end of this transaction. If one does so, this one doesn't wait for
-- its end: that one may wait for keys of this one.
SELECT pg_try_advisory_xact_lock(1701998181, ?::integer)

-- query candidates: for a lease in order; the braces stand for a condition. Messages are numbered in the order of receipt, while the
-- ids of several processes are only about in that order. One that runs comes first: one with a lower number may be stored later.
SELECT id, due_at FROM deliveries WHERE state < 3 AND route = :route {due} ORDER BY state <> 1, message LIMIT :count

-- query next due: the seconds until a delivery of the webhook that waits is due. The messages of others aren't read, since they may be many.
SELECT extract(epoch FROM vt - clock_timestamp())
FROM (
    SELECT min((SELECT vt FROM pgmq.q_errklein WHERE msg_id = deliveries.message)) AS vt
    FROM deliveries WHERE state < 3 AND state <> 1 AND route = (SELECT id FROM routes WHERE name = :webhook)
) AS first WHERE vt IS NOT NULL

-- query next due in order: the seconds until the oldest unfinished delivery is due, if it waits.
SELECT extract(epoch FROM vt - clock_timestamp())
FROM (
    SELECT message, state FROM deliveries WHERE state < 3 AND route = (SELECT id FROM routes WHERE name = :webhook)
    ORDER BY state <> 1, message LIMIT 1
) AS oldest JOIN pgmq.q_errklein ON msg_id = oldest.message WHERE state <> 1

-- query remove messages: their ids, and the hours in which they were accepted.
DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?)) RETURNING (floor(accepted_at / 3600) * 3600)::bigint, id

-- query add message total: to a column of an hour.
INSERT INTO message_totals (at, {0}) VALUES (?, ?) ON CONFLICT (at, node) DO UPDATE SET {0} = message_totals.{0} + excluded.{0}

-- query add to message_ledger: ids of messages.
INSERT INTO message_ledger VALUES {} ON CONFLICT DO NOTHING RETURNING id

-- query begin process: reserve so many ids of messages, and return the first one.
UPDATE outbox_ids SET next = greatest(next, coalesce((SELECT max(id) FROM outbox), 0) + 1) + :ids RETURNING next - :ids

-- query to recipient: the condition of messages to a recipient.
lower(encode(recipient, 'escape')) = lower(encode(:recipient, 'escape'))

-- query end run: that of this process, which stops.
UPDATE runs SET ended = ? WHERE id = (SELECT max(id) FROM runs WHERE node = current_node())

-- query contains reason: the condition of deliveries whose reason has a text, in upper or lower case.
reason != '' AND strpos(lower(reason), lower(:reason)) > 0

-- query spellings: of the text that is searched.
SELECT 1 FROM jsonb_array_elements_text(:text::jsonb) AS spelling (value)

-- query contains text: a column of a table has a spelling, for `text`. Only ASCII letters have two cases.
strpos(
    lower(encode((SELECT {1} FROM {0} WHERE id = deliveries.id), 'escape') COLLATE "C"),
    encode(convert_to(spelling.value, 'UTF8'), 'escape')
) > 0

-- query new ids: the first id of a new block, if another process has stored ids of a later one than this process has, or for 0.
SELECT CASE WHEN (SELECT coalesce(max(id), 0) FROM deliveries) >= ? THEN nextval('delivery_ids') END

-- query nodes: the names of the processes that run.
SELECT name FROM nodes WHERE seen_at > extract(epoch FROM clock_timestamp()) - 10 ORDER BY id

-- query tell: let all processes look for deliveries and paused webhooks.
SELECT pg_notify('errklein', 'deliveries -')

-- query unverified waiting: the size of the deliveries of unverified webhooks that wait or run.
SELECT coalesce(sum(size), 0) FROM deliveries WHERE verified = 0 AND state < 3

-- query oldest unverified: deliveries in a state, with their sizes, which are larger than those in a file.
SELECT id, size + 450 FROM deliveries WHERE verified = 0 AND state < 7 AND state = ? ORDER BY id LIMIT ?

-- query oldest verified: as before.
SELECT id, size + 450 FROM deliveries WHERE verified = 1 AND state >= 3 AND state = ? ORDER BY id LIMIT ?
