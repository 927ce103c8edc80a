-- What a probe, a run and `locks` ask of a target and write to it. `{meta}` is the schema of journal and lease, `{version}`
-- the version table; both are put in as quoted identifiers. `{called}` are the names by which the journal calls the
-- target: several where it was given a new one since, or was restored from another's backup. `{latest}` is the last entry
-- of each revision; asked for `anyone`'s it does not look at the names, which costs the server half. Whoever owns the
-- database may have made anything of our tables: of texts and rows so many come that no client runs out of memory.
-- Moments and spans of time are fetched in binary: as text the driver reads one DateStyle and one IntervalStyle, and a role
-- or a database may have others, which are those that revisions are to find.

-- name: probe
-- The whole state of an up-to-date target in one round trip. Fails with 42P01 or 3F000 where nothing of ours is there.
-- It reads the journal once, in place of once for `applied_checksums` and once for `unfinished`, which takes the server a
-- quarter less time. Where a step is unfinished, what its revision was before is not among the checksums; who misses it
-- asks those two. Asked for anyone's it says whether some are of `others`; where none are, it answers the same. Where no
-- entry is seen, `others` is NULL: entries may be there and not be shown to us, which `guarded` says. `written_as` is the name
-- of whom the newest entry is.
-- A transaction is read-only on a standby too, and where the role or the database makes it the default.
SELECT ARRAY(SELECT left(version_num::text, 1001) FROM {version} LIMIT 10001) AS heads,
       md5(string_agg(revision || ' ' || checksum, ',' ORDER BY revision COLLATE "C")
           FILTER (WHERE event <> 'started' AND direction = 'up')) AS checksums,
       (array_agg(left(direction || ' ' || revision, 1001)) FILTER (WHERE event = 'started'))[:10001] AS unfinished,
       bool_or(target_name <> %(target)s) AS others,
       (SELECT left(target_name, 1001) FROM {meta}.migration_journal ORDER BY seq DESC LIMIT 1) AS written_as,
       current_setting('server_version') AS server_version,
       current_setting('transaction_read_only') AS read_only
  FROM {latest} AS latest

-- name: probe_fresh
-- What a target without our tables is: somebody else's version table, or nothing yet. The journal is asked for first:
-- both are made at once, so whoever sees it there sees the version table too, unless that was dropped. `elsewhere` is the
-- table that stock Alembic would use for this role, where that is neither ours nor the usual one.
SELECT to_regclass('{meta}.migration_journal') IS NOT NULL AS has_journal,
       to_regclass(%(version)s) IS NOT NULL AS has_version,
       {has_foreign} AS has_foreign,
       {elsewhere} AS elsewhere,
       {records} AS records,
       current_setting('server_version') AS server_version,
       current_setting('transaction_read_only') AS read_only

-- name: probe_schema
-- One more value of both where the target is one schema.
EXISTS (SELECT FROM pg_namespace WHERE nspname = %(own)s) AS has_schema

-- name: guarded
SELECT {guarded} AS guarded

-- name: guarded_version
-- The same of a version table alone, where there is no journal; and of the table that stock Alembic would use.
SELECT row_security_active({version_literal}) AS guarded

-- name: guarded_foreign
SELECT row_security_active({foreign_literal}) AS guarded

-- name: foreign_heads
SELECT left(version_num::text, 1001) AS version_num FROM {foreign} ORDER BY 1 LIMIT 10001

-- name: records
SELECT {records} AS records

-- name: version_heads
SELECT left(version_num::text, 1001) AS version_num FROM {version} ORDER BY 1 LIMIT 10001

-- name: applied_checksums
-- Which file each applied revision had when it was applied, and the version rows that it found and left, a line each: of a
-- few hundred branches, all of them.
SELECT left(revision, 1001) AS revision, left(checksum, 1001) AS checksum, left(run, 1001) AS run,
       left(git_commit, 1001) AS git_commit, left(array_to_string(heads_before, E'\n'), 100001) AS rows_before,
       left(array_to_string(heads_after, E'\n'), 100001) AS rows_after
  FROM (SELECT DISTINCT ON (revision) * FROM {meta}.migration_journal
         WHERE target_name = ANY{called} AND event IN ('done', 'stamped', 'adopted')
         ORDER BY revision, seq DESC) AS latest
 WHERE direction = 'up' LIMIT 100001

-- name: settings
-- Set for the session, or within a transaction, and read back: a pooler drops start-up options without a word. The next two
-- would end a session while the other works, or a long step; PostgreSQL has the second since 17. With the last one off, a
-- commit that is told may be gone after a crash.
SELECT set_config('lock_timeout', %(lock)s, %(within)s),
       set_config('statement_timeout', %(statement)s, %(within)s),
       set_config('idle_in_transaction_session_timeout', %(idle)s, %(within)s),
       set_config('client_connection_check_interval', '500ms', %(within)s),
       set_config('idle_session_timeout', '0', %(within)s),
       CASE WHEN current_setting('transaction_timeout', true) <> '0'
            THEN set_config('transaction_timeout', '0', %(within)s) END,
       CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'local', %(within)s) END

-- name: prepare
-- The same before each step, on a session that was reset, with what a pooler may have set on it instead of the start-up
-- message. Where a step begins with it, the transaction has its number from here. One of the paths follows it, then one of
-- the locks.
SELECT CASE WHEN %(step)s THEN pg_current_xact_id()::text END,
       set_config('lock_timeout', %(lock)s, %(within)s),
       set_config('statement_timeout', %(statement)s, %(within)s),
       set_config('idle_in_transaction_session_timeout', %(idle)s, %(within)s),
       set_config('client_connection_check_interval', '500ms', %(within)s),
       set_config('application_name', %(application)s, %(within)s),
       set_config('client_encoding', 'UTF8', %(within)s),
       set_config('ehg_migrate.began', extract(epoch FROM clock_timestamp())::text, %(within)s),
       set_config('idle_session_timeout', '0', %(within)s),
       CASE WHEN current_setting('transaction_timeout', true) <> '0'
            THEN set_config('transaction_timeout', '0', %(within)s) END,
       CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'local', %(within)s) END

-- name: prepare_path
-- Our schema comes last in the path, after what the RESET has left of it (pg_settings would make rows of all settings to
-- tell that): what a revision creates without a schema lands where it always did, and a revision that names
-- `alembic_version` finds it. Where the path leads nowhere, ours would be the first: then it is left as it is.
, set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''),
                                      CASE WHEN current_schema() IS NOT NULL THEN quote_ident(%(schema)s) END),
             %(within)s)

-- name: prepare_home
-- A target that is one schema has a path of its own, without quotes that PostgreSQL would not write, so that a function
-- which keeps it is alike in every schema.
, set_config('search_path', (SELECT string_agg(quote_ident(p), ', ') FROM unnest(%(path)s::text[]) AS p), %(within)s)

-- name: prepare_locked
, pg_try_advisory_lock(%(work_key)s)

-- name: prepare_alone
-- Both locks, and whether nobody but us has written an entry since they were let go: each takes a number for its entry,
-- kept or not. A sequence is not read as of a snapshot, so it is enough that it is read behind the locks.
, CASE WHEN pg_try_advisory_xact_lock(%(key)s)
       THEN CASE WHEN pg_try_advisory_xact_lock(%(work_key)s)
                 THEN pg_sequence_last_value(%(numbers)s::regclass) IS NOT DISTINCT FROM %(last)s::bigint END END

-- name: number
SELECT pg_current_xact_id()::text

-- name: became
-- What became of a transaction, where nothing can be written beside it.
SELECT pg_xact_status(%(transaction)s::xid8)

-- name: listen
LISTEN {channel}; SELECT pg_backend_pid()

-- name: notify
SELECT pg_backend_pid(), pg_notify(%(channel)s, '')

-- name: claim
-- Whether the target is ours now, and whether at least its lock is. The second lock is that of a runner's working
-- connection: as long as a dead runner's has it, its last statement goes on. It is given back at once: only who has the
-- first lock takes the second. Noted in the session for statements that are sent along with this one.
SELECT set_config('ehg_migrate.ours', ended::text, false)::boolean, locked
  FROM (SELECT locked, CASE WHEN NOT locked THEN false
                            WHEN pg_try_advisory_lock(%(work_key)s) THEN pg_advisory_unlock(%(work_key)s)
                            ELSE false END AS ended
          FROM (SELECT pg_try_advisory_lock(%(key)s) AS locked OFFSET 0) AS asked OFFSET 0) AS looked

-- name: numbers
-- The sequence that numbers the journal's entries, the last number that it gave, and whether an entry has a higher one. A
-- role may write entries and not read it: then it is none, and a number that none gives, so that nobody is believed not to
-- have written. Since PostgreSQL 18 it has no last number for such a role, as if it had given none.
SELECT numbers, CASE WHEN numbers IS NULL THEN -1 ELSE pg_sequence_last_value(numbers) END,
       numbers IS NOT NULL
       AND (SELECT max(seq) FROM {meta}.migration_journal) > coalesce(pg_sequence_last_value(numbers), 0)
  FROM (SELECT CASE WHEN has_sequence_privilege(seq, 'USAGE, SELECT') THEN seq END AS numbers
          FROM (SELECT pg_get_serial_sequence('{meta}.migration_journal', 'seq')::regclass::oid AS seq) AS asked) AS read

-- name: number_on
-- Entries are in the order of their numbers. Where rows came here without their sequence, as by logical replication, it
-- begins anew: the next entries would come between older ones, or fail where one has their number.
SELECT CASE WHEN newest > coalesce(pg_sequence_last_value(numbers), 0) THEN setval(numbers::regclass, newest) END
  FROM (SELECT CASE WHEN has_sequence_privilege(seq, 'USAGE, SELECT') AND has_sequence_privilege(seq, 'UPDATE')
                    THEN seq END AS numbers, newest
          FROM (SELECT pg_get_serial_sequence('{meta}.migration_journal', 'seq')::regclass::oid AS seq,
                       (SELECT max(seq) FROM {meta}.migration_journal) AS newest) AS asked) AS read
 WHERE current_setting('ehg_migrate.ours')::boolean

-- name: unlock
-- All: a lock that was polled for may have been taken more than once.
SELECT pg_advisory_unlock_all()

-- name: facts
-- What SQLAlchemy asks of a server.
SELECT current_schema()::text, current_setting('transaction_isolation'), h.oid, h.typarray,
       h.oid::regtype::text
  FROM (SELECT to_regtype('hstore') AS type) AS asked LEFT JOIN pg_type h ON h.oid = asked.type

-- name: holder
-- Who has the lock: the server's own knowledge, and what the holder wrote down if it got that far.
SELECT l.pid, a.application_name, host(a.client_addr), a.backend_start, a.state
  FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32 | l.objid::bigint) = %(key)s

-- name: holders
-- Both connections of whoever has the lock, with what the runner wrote down of itself. Where a session that has it is the
-- one that asks, a pooler which cleans nothing has handed it on: whoever took the lock there has gone. A pooler's session is
-- older than who has it now.
SELECT l.pid, a.application_name, a.client_addr::text AS client_addr, coalesce(e.taken_at, a.backend_start) AS since,
       CASE WHEN l.pid = pg_backend_pid() THEN 'left behind' ELSE a.state END AS state,
       CASE WHEN l.pid <> pg_backend_pid() THEN a.query END AS query, e.run, e.actor, e.host, e.pid AS process
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN {meta}.migration_lease e ON e.backend_pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32 | l.objid::bigint) = ANY(%(keys)s)
 ORDER BY l.pid

-- name: holders_alone
-- The same where there is no lease table: nothing of ours was ever made here, or somebody has dropped it. The lock is held
-- or free all the same.
SELECT l.pid, a.application_name, a.client_addr::text AS client_addr, a.backend_start AS since,
       CASE WHEN l.pid = pg_backend_pid() THEN 'left behind' ELSE a.state END AS state,
       CASE WHEN l.pid <> pg_backend_pid() THEN a.query END AS query,
       NULL AS run, NULL AS actor, NULL AS host, NULL AS process
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32 | l.objid::bigint) = ANY(%(keys)s)
 ORDER BY l.pid

-- name: lease
SELECT run, actor, host, pid, git_commit, taken_at FROM {meta}.migration_lease WHERE backend_pid = %(pid)s

-- name: take_lease
INSERT INTO {meta}.migration_lease (key, backend_pid, run, actor, host, pid, git_commit)
SELECT %(key)s, pg_backend_pid(), %(run)s, %(actor)s, %(host)s, %(pid)s, %(git_commit)s
 WHERE current_setting('ehg_migrate.ours')::boolean

-- name: clear_lease
-- Whoever has the lock takes the place of a row that a killed runner left. Two statements: a DELETE in a WITH of the
-- INSERT comes after it, and an UPDATE by ON CONFLICT needs a privilege that nothing else here needs.
DELETE FROM {meta}.migration_lease WHERE key = %(key)s AND current_setting('ehg_migrate.ours')::boolean
RETURNING run, broken_by

-- name: end_holders
-- The one that asks last: a pooler may have given us the very session that is to end.
SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM unnest(%(pids)s::integer[]) AS pid
                                        ORDER BY pid = pg_backend_pid() OFFSET 0) AS holders

-- name: break_lease
-- A runner with one connection has written none; then this takes the place of what a killed one may have left.
INSERT INTO {meta}.migration_lease (key, backend_pid, run, actor, host, pid, git_commit, broken_by)
VALUES (%(key)s, %(pid)s, %(run)s, '', %(host)s, 0, '', %(actor)s)
ON CONFLICT (key) DO UPDATE SET backend_pid = excluded.backend_pid, run = excluded.run, broken_by = excluded.broken_by
 WHERE migration_lease.backend_pid = ANY(%(pids)s)
    OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = migration_lease.backend_pid)

-- name: unbreak_lease
-- Where they may not be ended after all: nobody has ended them then.
UPDATE {meta}.migration_lease SET broken_by = ''
 WHERE key = %(key)s AND broken_by = %(actor)s AND backend_pid = ANY(%(pids)s)

-- name: drop_lease
DELETE FROM {meta}.migration_lease WHERE key = %(key)s AND backend_pid = pg_backend_pid()

-- name: layout
SELECT to_regclass('{meta}.migration_journal') IS NOT NULL AS journal,
       to_regclass(%(version)s) IS NOT NULL AS version,
       {has_foreign} AS has_foreign,
       {elsewhere} AS elsewhere,
       to_regclass('{meta}.migration_lease') IS NOT NULL AS lease

-- name: id_length
-- How long a revision's id may be; none where there is no limit.
SELECT atttypmod - 4 FROM pg_attribute
 WHERE attrelid = to_regclass(%(version)s) AND attname = 'version_num' AND atttypmod > 0

-- name: default_privileges
-- What the present role gives to others on everything that it makes, each as JSON: in which schema (empty for everywhere),
-- on what, which privilege, to whom, and whether with the right to pass it on.
ARRAY(SELECT json_build_array(coalesce(n.nspname, ''), d.defaclobjtype, coalesce(a.privilege_type, ''),
                              coalesce(r.rolname, 'PUBLIC'), coalesce(a.is_grantable, false))::text
        FROM pg_default_acl d
        LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
        LEFT JOIN aclexplode(d.defaclacl) a ON a.grantee <> d.defaclrole
        LEFT JOIN pg_roles r ON r.oid = a.grantee
       WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
       ORDER BY 1)

-- name: record
-- How long the step took the client does not know where it sends this behind statements that it has not waited for.
INSERT INTO {meta}.migration_journal
       (target_name, run, event, revision, direction, branch, checksum, heads_before, heads_after, started_at, seconds,
        actor, host, git_commit, tool_version, detail)
VALUES (%(target)s, %(run)s, %(event)s, %(revision)s, %(direction)s, %(branch)s, %(checksum)s, %(heads_before)s,
        %(heads_after)s, %(started_at)s,
        greatest(%(seconds)s, extract(epoch FROM clock_timestamp())
                              - nullif(current_setting('ehg_migrate.began', true), '')::numeric),
        %(actor)s, %(host)s, %(git_commit)s, %(tool_version)s, %(detail)s)

-- name: record_answer
-- What became of a transaction.
RETURNING CASE WHEN pg_current_xact_id() = %(transaction)s::xid8 THEN 'this'
               ELSE pg_xact_status(%(transaction)s::xid8) END

-- name: record_rows
-- The end of the former, where the version rows are asked for too. Not always: the table may be locked by a step.
, ARRAY(SELECT left(version_num::text, 1001) FROM {version} ORDER BY 1 LIMIT 10001)

-- name: record_within
-- What is put around an entry that nobody looks at before its COMMIT. It fails where that was not written, where the version
-- rows are not what the step was to make them, where the transaction is not its own, or where a function has set another
-- encoding, in which what came behind it was to be sent: then the COMMIT is not done.
WITH written AS (

-- name: record_planned
RETURNING true) SELECT 1 / ((SELECT count(*) FROM written) = 1 AND count(*) = cardinality(%(heads_after)s::text[])
            AND coalesce(bool_and(version_num = ANY(%(heads_after)s)), true)
            AND pg_current_xact_id() = %(transaction)s::xid8
            AND pg_client_encoding() = 'UTF8')::integer
  FROM {version}

-- name: has_written
SELECT pg_current_xact_id_if_assigned() IS NOT NULL

-- name: journal
-- The newest entries, newest first; all where the limit is NULL.
SELECT seq, run, event, revision, direction, branch, checksum, heads_before, heads_after, started_at, seconds,
       actor, host, git_commit, tool_version, detail, target_name AS target
  FROM {meta}.migration_journal WHERE target_name = ANY{called} AND NOT {oversized} ORDER BY seq DESC LIMIT %(limit)s

-- name: done_in_run
SELECT left(revision, 1001) FROM {meta}.migration_journal
 WHERE target_name = %(target)s AND run = %(run)s AND event = 'done' LIMIT 100001

-- name: has_event
SELECT 1 FROM {meta}.migration_journal
 WHERE target_name = %(target)s AND run = %(run)s AND event = %(event)s LIMIT 1

-- name: came_since
-- Who has written behind an entry, but for what changed nothing.
SELECT left(run, 1001) FROM {meta}.migration_journal
 WHERE target_name = ANY{called} AND seq > %(seq)s AND run <> %(run)s AND event <> 'failed'
 GROUP BY run ORDER BY min(seq) LIMIT 101

-- name: oversized
SELECT {oversized} AS oversized

-- name: started_detail
-- What was noted when a step left its transaction, if nobody has seen that step end since.
SELECT detail
  FROM (SELECT event, detail FROM {meta}.migration_journal
         WHERE target_name = ANY{called} AND revision = %(revision)s
           AND event IN ('done', 'started', 'stamped', 'adopted')
         ORDER BY seq DESC LIMIT 1) AS latest
 WHERE event = 'started'

-- name: unfinished
SELECT direction, left(revision, 1001) FROM {latest} AS latest WHERE event = 'started' ORDER BY 1, 2 LIMIT 10001

-- name: invalid_indexes
-- Left behind by a CREATE or REINDEX INDEX CONCURRENTLY that did not end; those being built right now are not meant.
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT i.indisvalid AND n.nspname NOT LIKE 'pg\_%%' AND c.relkind = 'i'
   AND (%(own)s = '' OR n.nspname = %(own)s)
   AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
 ORDER BY 1

-- name: is_empty
-- Whether a schema is there and nothing in it; NULL where it is not there.
SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid)
   AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid)
   AND NOT EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid)
  FROM pg_namespace n WHERE n.nspname = %(own)s

-- name: create_schema
CREATE SCHEMA IF NOT EXISTS {own}

-- name: blockers
-- Who keeps the others waiting, and with what. Not who asks: a CREATE INDEX CONCURRENTLY waits for that, too, for a moment.
SELECT b.pid, b.usename, b.application_name, now() - b.xact_start AS age, b.state, b.query
  FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS blocking(pid)
  JOIN pg_stat_activity b ON b.pid = blocking.pid
 WHERE w.pid = %(pid)s AND b.pid <> pg_backend_pid()

-- name: prepared_blockers
-- Prepared transactions hold locks and have no session: among the blocking pids each is a 0. Whose a lock is, the lock on
-- its own number tells.
SELECT DISTINCT x.transaction::text::bigint, x.gid, x.owner::text, now() - x.prepared AS age
  FROM pg_locks w
  JOIN pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype
   AND (h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
       IS NOT DISTINCT FROM
       (w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
  JOIN pg_locks own ON own.pid IS NULL AND own.virtualtransaction = h.virtualtransaction
   AND own.locktype = 'transactionid'
  JOIN pg_prepared_xacts x ON x.transaction = own.transactionid
 WHERE w.pid = %(pid)s AND NOT w.granted AND 0 = ANY(pg_blocking_pids(w.pid))

-- name: clear_row
DELETE FROM {version} WHERE version_num = %(revision)s

-- name: move_row
UPDATE {version} SET version_num = %(becomes)s WHERE version_num = %(revision)s

-- name: put_row
INSERT INTO {version} (version_num) VALUES (%(revision)s)
