-- What this transaction has locked so far, and what the statistics of this session say of it. Before a transaction ends no
-- lock on a table is given back, so whatever was read whole, written or rewritten in it is among these.
SELECT l.relation::bigint, pg_catalog.array_agg(DISTINCT l.mode),
       pg_catalog.pg_relation_filenode(l.relation)::bigint, c.reltablespace::bigint,
       coalesce(pg_catalog.pg_stat_get_xact_numscans(l.relation), 0),
       coalesce(pg_catalog.pg_stat_get_xact_tuples_inserted(l.relation), 0)
       + coalesce(pg_catalog.pg_stat_get_xact_tuples_updated(l.relation), 0)
       + coalesce(pg_catalog.pg_stat_get_xact_tuples_deleted(l.relation), 0)
  FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
 WHERE l.locktype = 'relation' AND l.granted AND l.pid = pg_catalog.pg_backend_pid() AND l.relation >= 16384::pg_catalog.oid
 GROUP BY l.relation, c.reltablespace
