-- Statements of nodes by their names. The transaction of a heartbeat locks the rows of `owner` and `nodes` in this order, as all others do.

-- query server: what identifies the server and its history, and its end of the session: '' is a Unix socket. A standby raises an error.
SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8),
    CAST(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) AS double precision), (SELECT secret FROM owner),
    coalesce(host(inet_server_addr()), ''), coalesce(inet_server_port(), CAST(current_setting('port') AS integer))

-- query add: a new node, which holds the lock at once that shows others that it has a session.
INSERT INTO nodes (session, name, version, roles, address, began_at, seen_at)
SELECT %(session)s, %(name)s, %(version)s, %(roles)s, %(address)s, now, now
FROM CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS now
ON CONFLICT DO NOTHING RETURNING id, began_at, pg_try_advisory_lock('nodes'::regclass::oid::int, id::int)

-- query hold: hold this lock.
SELECT pg_try_advisory_lock('nodes'::regclass::oid::int, %(id)s)

-- query end own: end the session that holds this node's lock, since its end hasn't arrived at the server.
SELECT pg_terminate_backend(pid, 1000) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = 'nodes'::regclass AND objid = %(id)s AND objsubid = 2 AND pid != pg_backend_pid()
    AND starts_with(application_name, %(session)s)

-- query owns: whether the node owns. Whoever takes over waits for the end of this transaction.
SELECT 1 FROM owner WHERE epoch = %(epoch)s FOR KEY SHARE

-- query beat: a heartbeat. It also restores the row of a node that others have taken for dead.
INSERT INTO nodes (id, session, name, version, roles, address, began_at, seen_at)
VALUES (%(id)s, %(session)s, %(name)s, %(version)s, %(roles)s, %(address)s, %(began_at)s, extract(epoch FROM clock_timestamp()))
ON CONFLICT (id) DO UPDATE SET beat = nodes.beat + 1, seen_at = excluded.seen_at WHERE nodes.session = excluded.session
RETURNING beat

-- query nodes: all nodes, with the heartbeat, whether their session exists, and the epoch if they own.
SELECT n.id, n.name, n.version, n.roles, n.address, n.began_at, n.seen_at, n.draining, coalesce(o.since, 0.0), n.beat, o.epoch,
    EXISTS (
        SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objid = n.id AND l.objsubid = 2 AND l.granted
            AND l.classid = 'nodes'::regclass AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
FROM nodes n LEFT JOIN owner o ON o.node = n.id ORDER BY n.id

-- query end: end all sessions of a node that has sent no heartbeat since this one.
SELECT pg_terminate_backend(a.pid, 1000) FROM nodes n JOIN pg_stat_activity a ON starts_with(a.application_name, n.session)
WHERE n.id = %(id)s AND n.beat = %(beat)s AND a.pid != pg_backend_pid() AND a.datname = current_database()

-- query wait: wait for the transactions of a node that owns.
SELECT 1 FROM owner WHERE node = %(id)s FOR UPDATE

-- query bury: remove a node that has sent no heartbeat since this one.
DELETE FROM nodes WHERE id = %(id)s AND beat = %(beat)s

-- query leave: remove a node.
DELETE FROM nodes WHERE id = %(id)s AND session = %(session)s

-- query free: take the ownership from a node. No transaction of its epoch can begin any more.
UPDATE owner SET node = NULL, epoch = epoch + 1 WHERE node = %(id)s

-- query own: become the owner if there is none. The epochs of a database and of its copies differ.
UPDATE owner SET node = %(id)s, epoch = epoch + 1 + (random() * 4294967296)::bigint, since = extract(epoch FROM clock_timestamp())
WHERE node IS NULL OR NOT EXISTS (SELECT FROM nodes WHERE id = owner.node)
RETURNING epoch

-- query drain: let a node drain.
UPDATE nodes SET draining = true WHERE id = %(id)s

-- query notify: tell other nodes that something has changed.
SELECT pg_notify('errklein', %(topic)s || ' ' || %(session)s)
