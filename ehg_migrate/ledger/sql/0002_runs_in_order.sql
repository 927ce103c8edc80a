-- Runs in the order in which they were written down: a clock that was wrong when one began spoils its time, not its place.

alter table {schema}runs add column place bigint not null default 0;

-- two runs that begin at the same moment may share one; then the id decides
update {schema}runs set place = (select count(*) from {schema}runs r where r.started_at <= {schema}runs.started_at);

create index runs_by_place on {schema}runs (place);

drop index {schema}runs_by_start;
