-- What depends on one object, on its columns and on what depends on those, the farthest first: type and identity as
-- `pg_identify_object` says them. Braces are put in by `dependants.py`: the row of the object's own address.
WITH RECURSIVE found (classid, objid, objsubid, depth) AS (
    SELECT * FROM ({address}) AS root (classid, objid, objsubid, depth)
    UNION
    SELECT d.classid, d.objid, d.objsubid, f.depth + 1
      FROM found f
      JOIN pg_depend d ON d.refclassid = f.classid AND d.refobjid = f.objid
                      AND (f.objsubid = 0 OR d.refobjsubid = f.objsubid)
     WHERE f.depth < 20 AND (d.classid, d.objid, d.objsubid) <> (f.classid, f.objid, f.objsubid)
)
SELECT o.type, o.identity
  FROM (SELECT classid, objid, objsubid, max(depth) AS depth FROM found WHERE depth > 0 GROUP BY 1, 2, 3) AS f
 CROSS JOIN LATERAL pg_identify_object(f.classid, f.objid, f.objsubid) AS o
 WHERE o.identity IS NOT NULL
 ORDER BY f.depth DESC, o.type, o.identity
