-- Which saved plan a run did: what is missing of it must not be planned anew.

-- the SHA-256 of the file; empty where the run made its own plan, or was before
alter table {schema}runs add column saved_plan text not null default '';
