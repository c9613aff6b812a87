-- Queries of the journal by their names.

-- query first id: lower ones were received before `:time`, others not. Ids increase with time, so it is a binary search.
WITH RECURSIVE search (low, high) AS (
    SELECT 0, coalesce((SELECT max(id) FROM deliveries), 0) + 1
    UNION ALL
    SELECT
        iif((SELECT received_at FROM deliveries WHERE id >= (low + high) / 2 ORDER BY id LIMIT 1) < :time, (low + high) / 2, low),
        iif((SELECT received_at FROM deliveries WHERE id >= (low + high) / 2 ORDER BY id LIMIT 1) < :time, high, (low + high) / 2)
    FROM search WHERE high - low > 1
)
SELECT min(high) FROM search

-- query replayable: the condition of deliveries that can run once more: they have ended or wait for a time, and their body is stored.
id IN (SELECT value FROM json_each(?)) AND (state >= 2 OR (state = 0 AND due_at > 0)) AND (superseded_by = 0 OR ? = 1) AND (
    EXISTS (SELECT 1 FROM contents c WHERE c.id = deliveries.id AND c.body IS NOT NULL)
    OR EXISTS (SELECT 1 FROM private p WHERE p.id = deliveries.id AND p.body IS NOT NULL)
)

-- query is waiting: the condition of routes with unfinished deliveries that were received and due at a time.
EXISTS (
    SELECT 1 FROM deliveries INDEXED BY unfinished
    WHERE state < 3 AND deliveries.route = routes.id AND coalesce(due_at, 0.0) <= :since AND received_at <= :since
)

-- query depth: what waits and runs, and when the oldest of it, and of all, was received.
SELECT
    number - running, running, coalesce((SELECT received_at FROM deliveries WHERE id = oldest), 0.0),
    coalesce((SELECT received_at FROM deliveries ORDER BY id LIMIT 1), 0.0)
FROM (
    SELECT count(*) AS number, count(*) FILTER (WHERE state = 1) AS running, min(id) AS oldest
    FROM deliveries INDEXED BY unfinished WHERE state < 3
) AS unfinished

-- query totals: the numbers of `Total` in each step.
SELECT CAST(time / :step AS INTEGER) * :step, sum(accepted), sum(refused), sum(repeated), sum(counted), sum(failed), sum(dead)
FROM (
    SELECT at AS time, accepted, refused, repeated, counted, 0 AS failed, 0 AS dead
    FROM totals WHERE at >= :since AND at < :until AND route IN (SELECT value FROM json_each(:routes))
    UNION ALL
    SELECT received_at, 0, 0, 0, 0, state = 5, state = 4 FROM deliveries INDEXED BY failures
    WHERE state IN (4, 5) AND superseded_by = 0 AND received_at >= :since AND received_at < :until
    AND route IN (SELECT value FROM json_each(:routes))
)
GROUP BY 1

-- query causes: failed and refused deliveries by their reasons.
SELECT route, state, status, reason, count(*), count(*) FILTER (WHERE superseded_by > 0), min(received_at), max(received_at)
FROM deliveries INDEXED BY failures WHERE state IN (4, 5) AND received_at >= :since
AND route IN (SELECT value FROM json_each(:routes)) GROUP BY route, state, status, reason
UNION ALL
SELECT route, 7, status, reason, count(*), count(*) FILTER (WHERE superseded_by > 0), min(received_at), max(received_at)
FROM deliveries INDEXED BY refused WHERE state = 7 AND received_at >= :since
AND route IN (SELECT value FROM json_each(:routes)) GROUP BY route, status, reason

-- query of cause: the deliveries of some of these reasons; the braces stand for the index and its condition.
SELECT id, key, superseded_by FROM deliveries INDEXED BY {} AND state = :state AND route = (SELECT id FROM routes WHERE name = :webhook)
AND coalesce(status, 0) = :status AND coalesce(reason, '') IN (SELECT value FROM json_each(:reasons)) AND received_at >= :since
ORDER BY superseded_by > 0, id DESC LIMIT 1000

-- query last requests: the latest id of each webhook, or of each that is named. Each SELECT seeks the end of a range.
SELECT max(
    coalesce((SELECT max(id) FROM deliveries INDEXED BY unfinished WHERE state < 3 AND route = routes.id), 0),
    coalesce((SELECT max(id) FROM deliveries INDEXED BY finished WHERE state >= 3 AND state = 3 AND route = routes.id), 0),
    coalesce((SELECT max(id) FROM deliveries INDEXED BY finished WHERE state >= 3 AND state = 4 AND route = routes.id), 0),
    coalesce((SELECT max(id) FROM deliveries INDEXED BY finished WHERE state >= 3 AND state = 5 AND route = routes.id), 0),
    coalesce((SELECT max(id) FROM deliveries INDEXED BY finished WHERE state >= 3 AND state = 6 AND route = routes.id), 0),
    coalesce((SELECT max(id) FROM deliveries INDEXED BY finished WHERE state >= 3 AND state = 7 AND route = routes.id), 0)
) FROM routes WHERE :names IS NULL OR name IN (SELECT value FROM json_each(:names))

-- query by id or key: the id itself, and those by which the source's id is remembered.
SELECT :id UNION SELECT dedupe.id FROM routes CROSS JOIN dedupe ON dedupe.route = routes.id AND dedupe.key = :key

-- query searched: the ids of a slice.
SELECT id FROM deliveries WHERE id >= :low AND id < :high AND :text <> '' AND (request_id = :text OR key = :key)
ORDER BY id DESC LIMIT :limit

-- query balances: all as of one moment. What is older than the first total that is kept doesn't count.
WITH
    first AS (
        SELECT max(:since, coalesce((SELECT min(at) / 3600 * 3600 FROM totals), :until)) AS deliveries,
        max(:since, coalesce((SELECT min(at) FROM message_totals), :until)) AS messages
    ),
    added AS (
        SELECT coalesce(sum(accepted), 0) AS accepted, coalesce(sum(counted), 0) AS counted,
        coalesce(sum(aged), 0) AS aged, coalesce(sum(evicted), 0) AS evicted
        FROM totals WHERE at >= (SELECT deliveries FROM first) AND at < :until
    ),
    found AS (
        SELECT state, state = 4 AND status = 410 AND reason = :removed AS cancelled
        FROM deliveries WHERE state < 6 AND received_at >= (SELECT deliveries FROM first) AND received_at < :until
    ),
    killed AS (
        SELECT began, coalesce((SELECT min(began) FROM runs later WHERE later.id > runs.id), 0.0) AS again
        FROM runs WHERE ended IS NULL
    )
SELECT
    'deliveries', first.deliveries, accepted + counted,
    (
        SELECT json_object(
            'done', count(*) FILTER (WHERE state = 3), 'only counted', counted, 'failed', count(*) FILTER (WHERE state = 5),
            'dead', count(*) FILTER (WHERE state = 4 AND NOT cancelled), 'cancelled', count(*) FILTER (WHERE cancelled),
            'waiting', count(*) FILTER (WHERE state < 3), 'removed by age', aged, 'removed by size', evicted
        ) FROM found
    ),
    (SELECT json_group_array(id) FROM (SELECT id FROM ledger WHERE id NOT IN (SELECT id FROM deliveries) LIMIT 1000)),
    (SELECT json_group_array(again) FROM killed WHERE began < :until AND (again = 0.0 OR again >= :since))
FROM first, added
UNION ALL
SELECT
    'messages', first.messages, coalesce(sum(accepted), 0),
    json_object(
        'sent', coalesce(sum(sent), 0), 'dropped', coalesce(sum(dropped), 0), 'rejected', coalesce(sum(rejected), 0),
        'waiting', (SELECT count(*) FROM outbox WHERE accepted_at >= first.messages AND accepted_at < :until)
    ),
    (SELECT json_group_array(id) FROM (SELECT id FROM message_ledger WHERE id NOT IN (SELECT id FROM outbox) LIMIT 1000)),
    '[]'
FROM first LEFT JOIN message_totals ON at >= first.messages AND at < :until

-- query end: of attempts. The rows are id, state, due_at, status, reason, seconds, traceback; the last four are NULL for one that isn't counted.
UPDATE deliveries SET
    state = v.column2, due_at = v.column3,
    attempt = attempt - (v.column4 IS NULL),
    status = coalesce(v.column4, status), reason = coalesce(v.column5, reason), seconds = coalesce(v.column6, seconds),
    size = size + iif(verified OR v.column4 IS NULL, 0, 100 + length(v.column5) + coalesce(length(v.column7), 0)),
    answered = iif(answered = 0 AND origin = '' AND NOT durable, coalesce(v.column4, 0), answered),
    traceback = iif(v.column4 IS NULL, traceback, v.column7)
FROM (VALUES {}) AS v WHERE deliveries.id = v.column1

-- query supersede: earlier deliveries of these routes and keys, by later ids.
UPDATE deliveries INDEXED BY given_up SET superseded_by = v.column3
FROM (VALUES {}) AS v
WHERE state IN (4, 5, 7) AND key <> '' AND superseded_by = 0 AND route = v.column1 AND key = v.column2 AND id < v.column3

-- query body size: of a delivery of `due`.
coalesce(
    (SELECT length(body) FROM private p WHERE p.id = due.id), (SELECT length(body) FROM contents c WHERE c.id = due.id), 0
)

-- query change messages: the rows are id, body, wanted, recipient, sent; NULL changes nothing.
UPDATE outbox SET body = coalesce(v.column2, body), wanted = coalesce(v.column3, wanted),
recipient = coalesce(v.column4, recipient), sent = coalesce(v.column5, sent)
FROM (VALUES {}) AS v WHERE outbox.id = v.column1

-- query keep refs: the ids of messages. One that was on disk has ids only if this process removes it: the first column is its id, or 0.
INSERT INTO sent_ids SELECT v.column2, v.column3, v.column4, v.column5, v.column6 FROM (VALUES {}) AS v
WHERE v.column1 = 0 OR v.column1 IN (SELECT id FROM outbox)
ON CONFLICT (network, key) DO UPDATE SET room = excluded.room, refs = excluded.refs, sent_at = excluded.sent_at

-- query find messages: the braces stand for conditions of those that wait, and of those that have ended.
SELECT id, network, recipient, delivery, 0, accepted_at, '' FROM outbox WHERE {}
UNION ALL SELECT id, network, recipient, delivery, state, ended_at, reason FROM ended_messages WHERE {}
ORDER BY id DESC LIMIT :count

-- query remove deliveries: those of a query of ids. What is removed in another way is missing.
DELETE FROM deliveries WHERE id IN ({}) RETURNING id, CAST(received_at / 3600 AS INTEGER) * 3600, route, state < 6

-- query remove from ledger: ids of deliveries.
DELETE FROM ledger WHERE id IN (SELECT value FROM json_each(?))

-- query old: the deliveries that have ended, of some age. The braces stand for `first id` and the number.
SELECT id FROM deliveries WHERE state >= 3 AND id < ({}) ORDER BY id LIMIT {}

-- query oldest unverified: deliveries in a state, with their sizes.
SELECT id, size FROM deliveries WHERE verified = 0 AND state < 7 AND state = ? ORDER BY id LIMIT ?

-- query oldest verified: as before.
SELECT id, size FROM deliveries WHERE verified = 1 AND state >= 3 AND state = ? ORDER BY id LIMIT ?

-- query unverified sizes: of all, and of those that wait or run.
SELECT coalesce(sum(size), 0), coalesce(sum(size) FILTER (WHERE state < 3), 0) FROM deliveries INDEXED BY unverified WHERE verified = 0 AND state < 7

-- query most refused: the size of all refused requests; then webhook, reason and number of those with most bytes.
SELECT sum(sum(size)) OVER (), route, reason, count(*) FROM deliveries INDEXED BY refused WHERE state = 7
GROUP BY route, reason ORDER BY sum(sum(size)) OVER (PARTITION BY route) DESC, sum(size) DESC LIMIT 1

-- query first refused: those of a webhook and reason.
SELECT id FROM deliveries INDEXED BY refused WHERE state = 7 AND route = ? AND reason IS ? ORDER BY id LIMIT ? OFFSET ?

-- query used: the bytes in use. The rest of the file is used for new rows.
SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size

-- query remove expired keys: a slice.
DELETE FROM dedupe WHERE (route, key) IN (SELECT route, key FROM dedupe INDEXED BY expiring WHERE expires <= ? LIMIT ?)

-- query remove keys: of a webhook, those that expire first.
DELETE FROM dedupe
WHERE (route, key) IN (SELECT route, key FROM dedupe INDEXED BY expiring WHERE route = ? ORDER BY expires LIMIT ?)

-- query remove once: what was noted for deliveries that were never stored.
DELETE FROM once WHERE (id, key) IN (
    SELECT id, key FROM once WHERE id < (SELECT coalesce(min(id), (SELECT max(id) FROM once)) FROM deliveries) LIMIT ?
)

-- query remove minutes: totals that aren't those of hours.
DELETE FROM totals WHERE (at, route) IN (
    SELECT at, route FROM totals WHERE at BETWEEN ? AND ? AND at % 3600 > 0 ORDER BY at LIMIT ?
)
RETURNING at, route, accepted, refused, repeated, counted, aged, evicted

-- query remove ended_messages: the oldest, if they are old or too many.
DELETE FROM ended_messages WHERE id IN (
    SELECT id FROM (SELECT id, ended_at FROM ended_messages ORDER BY id LIMIT :count) AS oldest WHERE ended_at < :time OR :excess > 0
)

-- query remove sent_ids: the oldest, if they are old or too many.
DELETE FROM sent_ids WHERE (network, key) IN (
    SELECT network, key FROM (SELECT * FROM sent_ids INDEXED BY sent_times ORDER BY sent_at LIMIT :count) AS oldest
    WHERE sent_at < :time OR :excess > 0
)

-- query remove actions: those of some age. A clock that is only this journal's must not remove what the file's trigger keeps.
DELETE FROM actions
WHERE id IN (SELECT id FROM actions ORDER BY id LIMIT 256) AND at < min(?, CAST(strftime('%s', 'now') AS INTEGER)) - ?

-- query remove runs: those of some age, but the last one.
DELETE FROM runs
WHERE id < (SELECT max(id) FROM runs) AND began < min(?, CAST(strftime('%s', 'now') AS INTEGER)) - ?

-- query remove message_totals: those of some age.
DELETE FROM message_totals WHERE at < min(?, CAST(strftime('%s', 'now') AS INTEGER)) - ?

-- query known: deliveries with these routes and keys that aren't given up, or the ids of removed ones. The braces stand for columns and rows.
SELECT k.route, k.key, k.id, {}
FROM (VALUES {}) AS v CROSS JOIN dedupe k ON k.route = v.column1 AND k.key = v.column2 AND k.expires > v.column3
LEFT JOIN deliveries d ON d.id = k.id LEFT JOIN routes r ON r.id = d.route
WHERE d.state IS NULL OR d.state NOT IN (4, 5)

-- query add totals: of minutes or hours, and routes.
INSERT INTO totals (at, route, accepted, refused, repeated, counted, aged, evicted) VALUES {} ON CONFLICT (at, route) DO UPDATE SET
accepted = accepted + excluded.accepted, refused = refused + excluded.refused, repeated = repeated + excluded.repeated,
counted = counted + excluded.counted, aged = aged + excluded.aged, evicted = evicted + excluded.evicted

-- query end running: the attempts of an earlier process. After a repeated end, the wait is up to a maximum that doubles, and the same each time.
UPDATE deliveries INDEXED BY unfinished
SET state = ?, due_at = iif(
    reason = ?, ? + 10.0 * (1 << min(attempt - 2, 8)) * ((id * 31 + attempt) * 7919 % 1000) / 1000, 0
), status = 0, reason = ?, seconds = 0, traceback = NULL
WHERE state < 3 AND state = 1 AND durable = ?

-- query candidates: for a lease; the braces stand for a condition.
SELECT id, due_at FROM deliveries INDEXED BY unfinished WHERE state < 3 AND route = :route {due} ORDER BY id LIMIT :count

-- query lease: begin an attempt.
UPDATE deliveries SET state = 1, attempt = attempt + 1, began_at = ?, due_at = iif(durable, ?, NULL)
WHERE id IN (SELECT value FROM json_each(?))

-- query leased: deliveries with their requests, as they were received.
SELECT coalesce(p.head, c.head), coalesce(p.body, c.body), {} FROM deliveries d
JOIN routes r ON r.id = d.route LEFT JOIN contents c ON c.id = d.id LEFT JOIN private p ON p.id = d.id
WHERE d.id IN (SELECT value FROM json_each(?)) ORDER BY d.id

-- query remove messages: their ids, and the hours in which they were accepted.
DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?)) RETURNING CAST(accepted_at / 3600 AS INTEGER) * 3600, id

-- query remove from message_ledger: ids.
DELETE FROM message_ledger WHERE id IN (SELECT value FROM json_each(?))

-- query add message total: to a column of an hour.
INSERT INTO message_totals (at, {0}) VALUES (?, ?) ON CONFLICT (at) DO UPDATE SET {0} = {0} + excluded.{0}

-- query add ended messages: their records.
INSERT INTO ended_messages VALUES {} ON CONFLICT (id) DO UPDATE SET
state = excluded.state, ended_at = excluded.ended_at, reason = excluded.reason

-- query begin process: reserve so many ids of messages, and return the first one.
UPDATE outbox_ids SET next = max(next, coalesce((SELECT max(id) FROM outbox), 0) + 1) + :ids RETURNING next - :ids

-- query to recipient: the condition of messages to a recipient.
lower(CAST(recipient AS TEXT)) = lower(CAST(:recipient AS TEXT))

-- query add deliveries: new ones.
INSERT INTO deliveries VALUES {}

-- query add keys: of new deliveries.
INSERT INTO dedupe VALUES {} ON CONFLICT (route, key) DO UPDATE SET id = excluded.id, expires = excluded.expires

-- query extend: leases.
UPDATE deliveries SET due_at = :due_at
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 1 AND due_at IS NOT NULL

-- query next due: the time of the deliveries that wait, or of the oldest unfinished one. The braces stand for its limit.
SELECT min(due_at) FROM (
    SELECT due_at, state FROM deliveries INDEXED BY unfinished
    WHERE state < 3 AND route = (SELECT id FROM routes WHERE name = :webhook) ORDER BY id {}
) AS waiting WHERE state <> 1

-- query contains reason: the condition of deliveries whose reason has a text, in upper or lower case.
reason != '' AND instr(lower(reason), lower(:reason))

-- query spellings: of the text that is searched.
SELECT 1 FROM json_each(:text) AS spelling

-- query contains text: a column of a table has a spelling, for `text`.
instr(lower(CAST((SELECT {1} FROM {0} WHERE id = deliveries.id) AS TEXT)), spelling.value)

-- query add to message_ledger: ids of messages.
INSERT INTO message_ledger VALUES {} ON CONFLICT DO NOTHING

-- query end run: that of this process, which stops.
UPDATE runs SET ended = ? WHERE id = (SELECT max(id) FROM runs)
