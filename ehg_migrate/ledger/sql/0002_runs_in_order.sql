-- Runs in the order in which they were written down: a clock that was wrong when one began spoils its time, not its place.

alter table {schema}runs add column place bigint not null default 0;

-- two runs that begin at the same moment may share one; then the id decides
create table {schema}places as select id, count(*) over (order by started_at) as place from {schema}runs;
create unique index places_by_id on {schema}places (id);
update {schema}runs set place = (select p.place from {schema}places p where p.id = {schema}runs.id);
drop table {schema}places;

create index runs_by_place on {schema}runs (place);

drop index {schema}runs_by_start;
