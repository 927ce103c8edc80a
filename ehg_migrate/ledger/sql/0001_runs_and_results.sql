-- Runs and what they did to each target. {json} and {time} are the database's own types, {schema} is its prefix.

-- one row for each invocation of a verb that changes targets
create table {schema}runs (
    id              text not null primary key,
    verb            text not null,
    selector        text not null,
    actor           text not null,
    host            text not null,
    pid             bigint not null,
    git_commit      text not null,
    tool_version    text not null,
    started_at      {time} not null,
    finished_at     {time},
    status          text not null,
    wish            {json} not null,
    undoes          text,
    resumes         text,
    rollout         text not null,     -- the same for the shards of one rollout
    targets         {json} not null,
    notes           {json} not null,
    heartbeat_at    {time} not null,
    process_started text not null      -- tells the run's process from a later one with the same pid
);

create index runs_by_start on {schema}runs (started_at);

-- what a run did to a target; rows are only ever added, and the highest attempt is the one that counts
create table {schema}results (
    run_id       text not null references {schema}runs (id),
    target       text not null,
    attempt      integer not null,
    status       text not null,
    heads_before {json} not null,
    heads_after  {json} not null,
    steps        {json} not null,
    not_done     {json} not null,
    problem      {json},
    notes        {json} not null,
    output       text not null,
    seconds      double precision not null,
    recorded_at  {time} not null,
    primary key (run_id, target, attempt)
);

-- the newest result of each target is what people ask for: answered from this index alone
create index results_by_target on {schema}results (target, recorded_at desc, run_id desc, attempt desc);
