-- Which database, or schema of one, a result is of: whatever the target was called, what was said of it is remembered.

-- empty where it is not known, as in results from before
alter table {schema}results add column identity text not null default '';

create index results_by_identity on {schema}results (identity, recorded_at desc, run_id desc, attempt desc);

-- the few that differed are found without a look at all that was ever done
create index differing_by_target on {schema}results (target) where status = 'schema_differs';
create index differing_by_identity on {schema}results (identity) where status = 'schema_differs';
