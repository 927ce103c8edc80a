-- Every statement on the ledger's tables, for SQLite and PostgreSQL alike. Parameters are `:name`; in braces stands what
-- the two do not say alike: `{schema}` before a table, `{now}` for the time by the clock that all users share, `{lock}`
-- to keep other writers of a row out, `{elements}` for the texts of a JSON list as rows with a column `value`. And
-- `{unread}` is a condition on results, for both: nobody may have read the target, so it tells nothing of what that holds.

-- name: version
SELECT version FROM {schema}ledger_schema

-- name: create_version
CREATE TABLE {schema}ledger_schema (version integer NOT NULL)

-- name: first_version
INSERT INTO {schema}ledger_schema (version) VALUES (0)

-- name: set_version
UPDATE {schema}ledger_schema SET version = :version

-- name: tables
{tables}

-- name: start
INSERT INTO {schema}runs
       (id, verb, selector, actor, host, pid, git_commit, tool_version, started_at, finished_at, status, wish, undoes,
        resumes, rollout, targets, notes, saved_plan, heartbeat_at, process_started, place)
VALUES (:id, :verb, :selector, :actor, :host, :pid, :git_commit, :tool_version, :started_at, :finished_at, :status, :wish,
        :undoes, :resumes, :rollout, :targets, :notes, :saved_plan, {now}, :process_started,
        (SELECT coalesce(max(place), 0) + 1 FROM {schema}runs))

-- name: lock_run
SELECT notes FROM {schema}runs WHERE id = :id {lock}

-- name: record
INSERT INTO {schema}results
       (run_id, target, identity, attempt, status, heads_before, heads_after, steps, not_done, problem, notes, output,
        seconds, recorded_at)
VALUES (:run_id, :target, :identity,
        (SELECT coalesce(max(attempt), 0) + 1 FROM {schema}results WHERE run_id = :run_id AND target = :target),
        :status, :heads_before, :heads_after, :steps, :not_done, :problem, :notes, :output, :seconds, :recorded_at)

-- name: newest_record
-- For each by itself, which is one look at an index: a ledger has years of results.
SELECT {now} AS now, max(recorded_at) AS recorded_at
  FROM (SELECT (SELECT max(s.recorded_at) FROM {schema}results s WHERE s.target = value) AS recorded_at
          FROM {elements}(:targets)
         UNION ALL
        SELECT (SELECT max(s.recorded_at) FROM {schema}results s WHERE s.identity = value AND s.identity <> '')
          FROM {elements}(:identities)) AS newest

-- name: beat
UPDATE {schema}runs SET heartbeat_at = {now} WHERE id = :id

-- name: taken_over
-- Who takes back or completes a run, also where that has no result yet. One that only takes back what the run has done
-- already leaves it alone.
SELECT r.id FROM {schema}runs r
 WHERE (r.undoes = :id OR r.resumes = :id)
   AND EXISTS (SELECT 1 FROM {elements}(r.targets) AS its
                WHERE its.value IN (SELECT own.value FROM {schema}runs o, {elements}(o.targets) AS own WHERE o.id = :id)
                  AND its.value NOT IN (SELECT s.target FROM {schema}results s WHERE s.run_id = :id))
 ORDER BY r.place LIMIT 1

-- name: finish
UPDATE {schema}runs SET status = :status, finished_at = :finished_at, notes = :notes WHERE id = :id

-- name: told
SELECT s.target, s.status FROM {schema}results s
 WHERE s.run_id = :id
   AND NOT EXISTS (SELECT 1 FROM {schema}results l
                    WHERE l.run_id = s.run_id AND l.target = s.target AND l.attempt > s.attempt)

-- name: runs
-- The newest; with a target only those that were to do something to it, or did, whether or not they came to it.
SELECT r.*, {now} AS now FROM {schema}runs r
 WHERE cast(:target AS text) IS NULL
    OR cast(:target AS text) IN (SELECT value FROM {elements}(r.targets))
    OR EXISTS (SELECT 1 FROM {schema}results s WHERE s.run_id = r.id AND s.target = :target)
 ORDER BY r.place DESC, r.id DESC LIMIT :limit

-- name: selections
SELECT DISTINCT r.rollout, r.selector FROM {schema}runs r WHERE r.rollout IN (SELECT value FROM {elements}(:rollouts))

-- name: completions
WITH RECURSIVE those AS (SELECT r.id, r.place FROM {schema}runs r WHERE r.resumes = :id
                          UNION
                         SELECT r.id, r.place FROM {schema}runs r JOIN those t ON r.resumes = t.id)
SELECT id FROM those ORDER BY place, id

-- name: runs_by_id
SELECT r.*, {now} AS now FROM {schema}runs r WHERE r.id IN (SELECT value FROM {elements}(:ids))

-- name: runs_by_beginning
-- Not LIKE: SQLite's ignores case, and ids may hold its wildcards.
SELECT r.*, {now} AS now FROM {schema}runs r
 WHERE substr(r.id, 1, length(cast(:beginning AS text))) = :beginning
 ORDER BY r.place DESC, r.id DESC LIMIT :limit

-- name: results
-- Those that count, the last attempts; what they printed only if it is wanted.
SELECT s.run_id, s.target, s.status, s.heads_before, s.heads_after, s.steps, s.not_done, s.problem, s.notes, s.seconds,
       CASE WHEN :output THEN s.output ELSE '' END AS output
  FROM {schema}results s
 WHERE s.run_id IN (SELECT value FROM {elements}(:ids))
   AND NOT EXISTS (SELECT 1 FROM {schema}results l
                    WHERE l.run_id = s.run_id AND l.target = s.target AND l.attempt > s.attempt)

-- name: last_results
-- By the target's name, or by its database whatever it was called: each item of `asked` is an identity of 16 characters
-- and a name. Only what was written last is ranked, which is one look at an index for each: a ledger has years of results.
WITH asked AS (SELECT substr(value, 17) AS name, trim(substr(value, 1, 16)) AS identity FROM {elements}(:asked)),
     newest AS (SELECT a.name, a.identity,
                       (SELECT max(s.recorded_at) FROM {schema}results s WHERE s.target = a.name) AS by_name,
                       (SELECT max(s.recorded_at) FROM {schema}results s
                         WHERE s.identity = a.identity AND s.identity <> '') AS by_identity
                  FROM asked a)
SELECT k.name AS target, s.run_id, s.status, s.heads_after, s.seconds
  FROM (SELECT n.name, s.run_id, s.target, s.attempt,
               row_number() OVER (PARTITION BY n.name
                                  ORDER BY s.recorded_at DESC, s.run_id DESC, s.attempt DESC,
                                           CASE WHEN s.identity = n.identity THEN 0 ELSE 1 END, s.target) AS place
          FROM newest n JOIN {schema}results s
            ON (s.target = n.name AND s.recorded_at = n.by_name)
            OR (s.identity = n.identity AND s.identity <> '' AND s.recorded_at = n.by_identity)) AS k
  JOIN {schema}results s ON s.run_id = k.run_id AND s.target = k.target AND s.attempt = k.attempt
 WHERE k.place = 1

-- name: last_seen
-- The same of results that tell what a target held: one that could not be reached, or was left out, has no heads. All of a
-- target's past may be looked at, but only where the last word on it tells nothing.
WITH asked AS (SELECT substr(value, 17) AS name, trim(substr(value, 1, 16)) AS identity FROM {elements}(:asked))
SELECT k.name AS target, k.run_id, k.status, k.heads_after, k.seconds
  FROM (SELECT a.name, s.run_id, s.status, s.heads_after, s.seconds,
               row_number() OVER (PARTITION BY a.name
                                  ORDER BY s.recorded_at DESC, s.run_id DESC, s.attempt DESC,
                                           CASE WHEN s.identity = a.identity THEN 0 ELSE 1 END, s.target) AS place
          FROM asked a JOIN {schema}results s
            ON (s.target = a.name OR (s.identity = a.identity AND s.identity <> ''))
         WHERE NOT {unread}) AS k
 WHERE k.place = 1

-- name: astray
-- Targets whose schema was seen to differ, and of which nothing good was said since: the newest run that saw it first. One
-- that did not look says `differed_before`, and comes last.
-- What was said under the same name of another database counts against a target, as its host may have changed, and never
-- for it. The newest good word is looked up once for each database, and not for each result that differed: one that nobody
-- mends has thousands.
WITH asked AS (SELECT substr(value, 17) AS name, trim(substr(value, 1, 16)) AS identity FROM {elements}(:asked)),
     differing AS (SELECT a.name, a.identity AS theirs, s.identity, s.target, s.run_id, s.attempt, s.recorded_at,
                          CASE WHEN replace(cast(s.problem AS text), '"differed_before"', '') <> cast(s.problem AS text)
                               THEN 1 ELSE 0 END AS repeated
                     FROM asked a JOIN {schema}results s
                       ON s.status = 'schema_differs'
                      AND (s.target = a.name OR (s.identity = a.identity AND s.identity <> ''))),
     whose AS (SELECT theirs AS identity, '' AS target FROM differing WHERE theirs <> ''
               UNION SELECT identity, '' FROM differing WHERE identity <> ''
               UNION SELECT '', target FROM differing WHERE identity = ''),
     -- grouped, so that SQLite does it once
     good AS (SELECT w.identity, '' AS target, max(g.recorded_at) AS newest
                FROM whose w JOIN {schema}results g ON g.identity = w.identity
               WHERE w.identity <> '' AND g.status IN ('succeeded', 'up_to_date') GROUP BY w.identity
              UNION ALL
              SELECT '' AS identity, w.target, max(g.recorded_at)
                FROM whose w JOIN {schema}results g ON g.target = w.target AND g.identity = ''
               WHERE w.identity = '' AND g.status IN ('succeeded', 'up_to_date') GROUP BY w.target),
     mended AS (SELECT d.name, d.run_id, d.target, d.attempt
                  FROM differing d JOIN good g
                    ON g.newest > d.recorded_at
                   AND (g.identity IN (d.theirs, d.identity) AND g.identity <> ''
                        OR g.identity = '' AND d.identity = '' AND g.target = d.target))
SELECT d.name AS target, d.run_id
  FROM differing d
 WHERE (d.name, d.run_id, d.target, d.attempt) NOT IN (SELECT name, run_id, target, attempt FROM mended)
   AND NOT EXISTS (SELECT 1 FROM {schema}results l  -- a later attempt of the same moment
                    WHERE l.run_id = d.run_id AND l.attempt > d.attempt AND l.recorded_at = d.recorded_at
                      AND l.status IN ('succeeded', 'up_to_date')
                      AND (l.identity IN (d.theirs, d.identity) AND l.identity <> ''
                           OR l.identity = '' AND d.identity = '' AND l.target = d.target))
 ORDER BY d.repeated, d.recorded_at DESC

-- name: outlived
-- Runs that were last heard of before a moment, and that nothing stands on any more. Kept, with all their results, are those
-- that hold the newest result of a target, by its name or its database, and the newest that tells what it held (see
-- `last_seen`); the newest good one, which tells that a schema that differed before does so no more; and one that differed
-- and of which nothing good was said since (see `astray`). What is kept is asked for by target, not of each result: a ledger
-- that is to become smaller has a million.
WITH names AS (SELECT s.target, max(s.recorded_at) AS newest FROM {schema}results s GROUP BY s.target),
     identities AS (SELECT s.identity, max(s.recorded_at) AS newest FROM {schema}results s
                     WHERE s.identity <> '' GROUP BY s.identity),
     good AS (SELECT i.identity, '' AS target,
                     (SELECT g.recorded_at FROM {schema}results g
                       WHERE g.identity = i.identity AND g.status IN ('succeeded', 'up_to_date')
                       ORDER BY g.recorded_at DESC LIMIT 1) AS newest
                FROM identities i
              UNION ALL
              SELECT '' AS identity, n.target,
                     (SELECT g.recorded_at FROM {schema}results g
                       WHERE g.target = n.target AND g.identity = '' AND g.status IN ('succeeded', 'up_to_date')
                       ORDER BY g.recorded_at DESC LIMIT 1) AS newest
                FROM (SELECT DISTINCT s.target FROM {schema}results s WHERE s.identity = '') n),
     telling AS (SELECT n.target, '' AS identity,
                        (SELECT g.recorded_at FROM {schema}results g
                          WHERE g.target = n.target AND NOT {unread}
                          ORDER BY g.recorded_at DESC LIMIT 1) AS newest
                   FROM names n
                 UNION ALL
                 SELECT '' AS target, i.identity,
                        (SELECT g.recorded_at FROM {schema}results g
                          WHERE g.identity = i.identity AND NOT {unread}
                          ORDER BY g.recorded_at DESC LIMIT 1) AS newest
                   FROM identities i),
     kept AS (SELECT s.run_id FROM names n JOIN {schema}results s ON s.target = n.target AND s.recorded_at = n.newest
              UNION
              SELECT s.run_id FROM telling t
                JOIN {schema}results s ON s.target = t.target AND s.recorded_at = t.newest
              UNION
              SELECT s.run_id FROM telling t
                JOIN {schema}results s ON s.identity = t.identity AND s.identity <> '' AND s.recorded_at = t.newest
              UNION
              SELECT s.run_id FROM identities i
                JOIN {schema}results s ON s.identity = i.identity AND s.recorded_at = i.newest
              UNION
              SELECT s.run_id FROM good g
                JOIN {schema}results s ON s.identity = g.identity AND s.recorded_at = g.newest
               WHERE (g.identity <> '' OR s.target = g.target) AND s.status IN ('succeeded', 'up_to_date')
              UNION
              SELECT s.run_id FROM {schema}results s LEFT JOIN good g
                  ON g.identity = s.identity AND (g.identity <> '' OR g.target = s.target)
               WHERE s.status = 'schema_differs' AND (g.newest IS NULL OR s.recorded_at >= g.newest))
SELECT r.id FROM {schema}runs r
 WHERE r.heartbeat_at < :before AND r.id NOT IN (SELECT run_id FROM kept)
 ORDER BY r.place, r.id

-- name: forget_results
DELETE FROM {schema}results WHERE run_id IN (SELECT value FROM {elements}(:ids))

-- name: forget_runs
DELETE FROM {schema}runs WHERE id IN (SELECT value FROM {elements}(:ids))
