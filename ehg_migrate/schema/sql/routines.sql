-- name: routine
-- Named by the types of their arguments. A body is compared as it was written; the body of a function in standard SQL has
-- no text of its own and is deparsed.
SELECT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
       s.name || '.' || quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')',
       jsonb_build_object(
           'arguments', pg_get_function_arguments(p.oid),
           'returns', pg_get_function_result(p.oid),
           'window', CASE p.prokind WHEN 'w' THEN true END,
           'language', l.lanname,
           'volatility', CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' END,
           'strict', CASE WHEN p.proisstrict THEN true END,
           'security definer', CASE WHEN p.prosecdef THEN true END,
           'leakproof', CASE WHEN p.proleakproof THEN true END,
           'parallel', CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' END,
           'cost', nullif(p.procost::text, CASE WHEN l.lanname IN ('internal', 'c') THEN '1' ELSE '100' END),
           'rows', CASE WHEN p.proretset THEN nullif(p.prorows::text, '1000') END,
           'support', CASE WHEN p.prosupport <> 0 THEN p.prosupport::regprocedure::text END,
           'transforms', (SELECT jsonb_agg(format_type(t, NULL)) FROM unnest(p.protrftypes) AS t),
           'settings', (SELECT jsonb_object_agg(setting, CASE WHEN {alias} = '' OR setting <> 'search_path' THEN value
                                 ELSE regexp_replace(value, $re$(?<![\w$"])$re$
                                                            || regexp_replace(quote_ident({alias}), $re$(\W)$re$, $re$\\\1$re$, 'g')
                                                            || $re$(?![\w$"])$re$, '$schema', 'g') END)
                          FROM (SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
                                  FROM unnest(p.proconfig) AS c) AS given (setting, value)),
           'body', CASE WHEN p.prokind = 'a' THEN NULL ELSE coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) END,
           'library', p.probin,
           'aggregate', CASE p.prokind WHEN 'a' THEN (
               SELECT jsonb_build_object(
                   'kind', CASE a.aggkind WHEN 'o' THEN 'ordered set' WHEN 'h' THEN 'hypothetical set' END,
                   'direct arguments', nullif(a.aggnumdirectargs, 0),
                   'transition', a.aggtransfn::regprocedure::text,
                   'state', format_type(a.aggtranstype, NULL),
                   'state size', nullif(a.aggtransspace, 0),
                   'initial', a.agginitval,
                   'final', nullif(a.aggfinalfn::regprocedure::text, '-'),
                   'final extra', CASE WHEN a.aggfinalextra THEN true END,
                   'final modifies', nullif(a.aggfinalmodify, 'r'),
                   'combine', nullif(a.aggcombinefn::regprocedure::text, '-'),
                   'serial', nullif(a.aggserialfn::regprocedure::text, '-'),
                   'deserial', nullif(a.aggdeserialfn::regprocedure::text, '-'),
                   'moving transition', nullif(a.aggmtransfn::regprocedure::text, '-'),
                   'moving inverse', nullif(a.aggminvtransfn::regprocedure::text, '-'),
                   'moving state', CASE WHEN a.aggmtranstype <> 0 THEN format_type(a.aggmtranstype, NULL) END,
                   'moving initial', a.aggminitval,
                   'moving state size', nullif(a.aggmtransspace, 0),
                   'moving final', nullif(a.aggmfinalfn::regprocedure::text, '-'),
                   'moving final extra', CASE WHEN a.aggmfinalextra THEN true END,
                   'moving final modifies', nullif(a.aggmfinalmodify, 'r'),
                   'sort operator', nullif(a.aggsortop::regoperator::text, '0'))
                 FROM pg_aggregate a WHERE a.aggfnoid = p.oid) END,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = p.proowner) END),
       'pg_proc'::regclass, p.oid, 0
  FROM pg_proc p
  JOIN ours s ON s.oid = p.pronamespace
  JOIN pg_language l ON l.oid = p.prolang
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
   -- the constructors of a range belong to it
   AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')
