-- What changes whenever a statement changes what the fingerprint is made of; many times cheaper than that. Equal to an
-- earlier one of the same target means: the fingerprint is what it was then. Unequal means nothing: look.
--
-- Every change leaves a new version of a row, whose xmin no row had before, or takes a row away; so for each catalogue the
-- numbers of rows by xmin change. VACUUM, freezing, ANALYZE, and work with rows and temporary tables leave them as they are.
-- An xmin comes again after 2^32 transactions: the epoch is in the token, and so is how many rows have an xmin of an earlier
-- epoch that is still to come in this one. Whoever restores, fails over or upgrades starts another server process, and
-- its time is in the token too: another history may use the same numbers again. So is the reader, of whom facts speak.

-- name: token
WITH temporary AS MATERIALIZED (
    SELECT oid FROM pg_class WHERE relpersistence = 't'
), passing AS MATERIALIZED (
    SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_'
), versions (place, xmin, rows) AS (
-- versions
), counted AS (
    SELECT string_agg(place || ' ' || xmin::text || ' ' || rows, ', ' ORDER BY place COLLATE "C", xmin::text::bigint) AS list,
           sum(rows) FILTER (WHERE xmin::text::bigint >= next & 4294967295) AS still_to_come,
           min(next >> 32) AS epoch
      FROM versions CROSS JOIN (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) AS snapshot (next)
)
SELECT encode(sha256(convert_to(concat_ws(E'\n',
           version(), current_user, pg_postmaster_start_time(), d.oid, d.xmin, d.datdba,
           c.list, c.still_to_come, c.epoch, current_setting('default_table_access_method'), current_setting('default_tablespace'),
           -- what views show of catalogues that few may read
           (SELECT string_agg(oid || ' ' || rolname, ', ' ORDER BY oid) FROM pg_roles),
           (SELECT string_agg(umid || ' ' || umuser || ' ' || srvid, ', ' ORDER BY umid) FROM pg_user_mappings)), 'UTF8')), 'hex') AS token
  FROM counted c CROSS JOIN pg_database d
 WHERE d.datname = current_database()

-- name: versions
-- Every catalogue that the queries of this folder name, and those that PostgreSQL's deparsing reads beside them.
SELECT 'pg_aggregate', xmin, count(*) FROM pg_aggregate GROUP BY 2
UNION ALL
SELECT 'pg_am', xmin, count(*) FROM pg_am GROUP BY 2
UNION ALL
SELECT 'pg_amop', xmin, count(*) FROM pg_amop GROUP BY 2
UNION ALL
SELECT 'pg_amproc', xmin, count(*) FROM pg_amproc GROUP BY 2
UNION ALL
SELECT 'pg_attrdef', xmin, count(*) FROM pg_attrdef WHERE adrelid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_attribute', xmin, count(*) FROM pg_attribute WHERE attrelid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_cast', xmin, count(*) FROM pg_cast GROUP BY 2
UNION ALL
SELECT 'pg_class', xmin, count(*) FROM pg_class WHERE relpersistence <> 't' GROUP BY 2
UNION ALL
SELECT 'pg_collation', xmin, count(*) FROM pg_collation GROUP BY 2
UNION ALL
SELECT 'pg_constraint', xmin, count(*) FROM pg_constraint WHERE connamespace NOT IN (SELECT oid FROM passing) GROUP BY 2
UNION ALL
SELECT 'pg_default_acl', xmin, count(*) FROM pg_default_acl GROUP BY 2
UNION ALL
-- members of extensions, owners of sequences, functions of types: not the many that say what needs what
SELECT 'pg_depend', xmin, count(*) FROM pg_depend
 WHERE (deptype = 'e' OR deptype = 'i' AND classid IN ('pg_proc'::regclass, 'pg_cast'::regclass)
        OR deptype IN ('a', 'i') AND classid = 'pg_class'::regclass AND refobjsubid > 0)
   AND objid NOT IN (SELECT oid FROM temporary) AND refobjid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_description', xmin, count(*) FROM pg_description WHERE objoid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_enum', xmin, count(*) FROM pg_enum GROUP BY 2
UNION ALL
SELECT 'pg_event_trigger', xmin, count(*) FROM pg_event_trigger GROUP BY 2
UNION ALL
SELECT 'pg_extension', xmin, count(*) FROM pg_extension GROUP BY 2
UNION ALL
SELECT 'pg_foreign_data_wrapper', xmin, count(*) FROM pg_foreign_data_wrapper GROUP BY 2
UNION ALL
SELECT 'pg_foreign_server', xmin, count(*) FROM pg_foreign_server GROUP BY 2
UNION ALL
SELECT 'pg_foreign_table', xmin, count(*) FROM pg_foreign_table GROUP BY 2
UNION ALL
SELECT 'pg_index', xmin, count(*) FROM pg_index WHERE indrelid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_inherits', xmin, count(*) FROM pg_inherits WHERE inhrelid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_language', xmin, count(*) FROM pg_language GROUP BY 2
UNION ALL
SELECT 'pg_namespace', xmin, count(*) FROM pg_namespace WHERE oid NOT IN (SELECT oid FROM passing) GROUP BY 2
UNION ALL
SELECT 'pg_opclass', xmin, count(*) FROM pg_opclass GROUP BY 2
UNION ALL
SELECT 'pg_operator', xmin, count(*) FROM pg_operator GROUP BY 2
UNION ALL
SELECT 'pg_opfamily', xmin, count(*) FROM pg_opfamily GROUP BY 2
UNION ALL
SELECT 'pg_partitioned_table', xmin, count(*) FROM pg_partitioned_table GROUP BY 2
UNION ALL
SELECT 'pg_policy', xmin, count(*) FROM pg_policy GROUP BY 2
UNION ALL
SELECT 'pg_proc', xmin, count(*) FROM pg_proc GROUP BY 2
UNION ALL
SELECT 'pg_publication', xmin, count(*) FROM pg_publication GROUP BY 2
UNION ALL
SELECT 'pg_publication_rel', xmin, count(*) FROM pg_publication_rel GROUP BY 2
UNION ALL
SELECT 'pg_range', xmin, count(*) FROM pg_range GROUP BY 2
UNION ALL
SELECT 'pg_rewrite', xmin, count(*) FROM pg_rewrite WHERE ev_class NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_sequence', xmin, count(*) FROM pg_sequence WHERE seqrelid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_statistic_ext', xmin, count(*) FROM pg_statistic_ext GROUP BY 2
UNION ALL
SELECT 'pg_tablespace', xmin, count(*) FROM pg_tablespace GROUP BY 2
UNION ALL
SELECT 'pg_trigger', xmin, count(*) FROM pg_trigger WHERE tgrelid NOT IN (SELECT oid FROM temporary) GROUP BY 2
UNION ALL
SELECT 'pg_ts_config', xmin, count(*) FROM pg_ts_config GROUP BY 2
UNION ALL
SELECT 'pg_ts_config_map', xmin, count(*) FROM pg_ts_config_map GROUP BY 2
UNION ALL
SELECT 'pg_ts_dict', xmin, count(*) FROM pg_ts_dict GROUP BY 2
UNION ALL
SELECT 'pg_ts_parser', xmin, count(*) FROM pg_ts_parser GROUP BY 2
UNION ALL
SELECT 'pg_ts_template', xmin, count(*) FROM pg_ts_template GROUP BY 2
UNION ALL
SELECT 'pg_type', xmin, count(*) FROM pg_type WHERE typnamespace NOT IN (SELECT oid FROM passing) GROUP BY 2

-- name: versions since 15
SELECT 'pg_publication_namespace', xmin, count(*) FROM pg_publication_namespace GROUP BY 2
