-- Name and definition of what a migration can make, for servers that no pg_dump here can read.
-- What an extension has brought is left out: the extension's version says it.
WITH ours AS (
    SELECT c.*, format('%I.%I', nspname, relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND relname !~ '^(_uptree_|_sqlx_migrations_uptree)'
      AND NOT EXISTS (SELECT FROM pg_depend d
          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), schemas AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), extended AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
)
SELECT 'SCHEMA ' || nspname, format('owner %s, ACL %s', pg_get_userbyid(nspowner), nspacl)
FROM schemas
UNION ALL
SELECT 'EXTENSION ' || extname, format('%s in %s', extversion, extnamespace::regnamespace)
FROM pg_extension
UNION ALL
SELECT format('%s %s', relkind, name),
    format('owner %s, ACL %s, persistence %s, options %s, RLS %s %s, identity %s, bound %s, key %s, as %s',
        pg_get_userbyid(relowner), relacl, relpersistence, reloptions, relrowsecurity,
        relforcerowsecurity, relreplident, pg_get_expr(relpartbound, ours.oid),
        CASE relkind WHEN 'p' THEN pg_get_partkeydef(ours.oid) END,
        CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(ours.oid) END)
FROM ours WHERE relkind <> 'i' AND relkind <> 'I'
UNION ALL
SELECT format('INHERITS %s', inhrelid::regclass), inhparent::regclass::text
FROM pg_inherits JOIN ours ON ours.oid = inhrelid
UNION ALL
SELECT format('COLUMN %s.%s', name, attname),
    format('%s %s, %s, default %s, identity %s, generated %s, collation %s, storage %s, ACL %s, options %s',
        attnum, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END,
        pg_get_expr(adbin, adrelid), attidentity, attgenerated, attcollation::regcollation,
        attstorage, attacl, attoptions)
FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind NOT IN ('i', 'I', 'S')
UNION ALL
SELECT format('CONSTRAINT %s on %s', conname,
        CASE conrelid WHEN 0 THEN contypid::regtype::text ELSE conrelid::regclass::text END),
    format('%s, validated %s', pg_get_constraintdef(c.oid), convalidated)
FROM pg_constraint c JOIN schemas s ON s.oid = connamespace
LEFT JOIN ours ON ours.oid = conrelid WHERE conrelid = 0 OR ours.oid IS NOT NULL
UNION ALL
SELECT 'INDEX ' || name,
    format('%s, valid %s, clustered %s', pg_get_indexdef(indexrelid), indisvalid, indisclustered)
FROM pg_index JOIN ours ON ours.oid = indexrelid
WHERE indrelid::regclass::text !~ '_uptree_|_sqlx_migrations_uptree'
UNION ALL
SELECT format('TRIGGER %s on %s', tgname, name),
    format('%s, enabled %s', pg_get_triggerdef(t.oid), tgenabled)
FROM pg_trigger t JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT 'ROUTINE ' || p.oid::regprocedure,
    format('owner %s, ACL %s, %s', pg_get_userbyid(proowner), proacl,
        CASE prokind WHEN 'a' THEN (SELECT a::text FROM pg_aggregate a WHERE aggfnoid = p.oid)
            ELSE pg_get_functiondef(p.oid) END)
FROM pg_proc p JOIN schemas s ON s.oid = pronamespace
WHERE (p.tableoid, p.oid) NOT IN (SELECT classid, objid FROM extended)
UNION ALL
SELECT 'TYPE ' || t.oid::regtype,
    format('owner %s, ACL %s, base %s, default %s, not null %s, range of %s, labels %s',
        pg_get_userbyid(typowner), typacl, format_type(typbasetype, typtypmod), typdefault,
        typnotnull, (SELECT rngsubtype::regtype FROM pg_range WHERE rngtypid = t.oid),
        (SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_enum
            WHERE enumtypid = t.oid))
FROM pg_type t JOIN schemas s ON s.oid = typnamespace
WHERE typtype IN ('d', 'e', 'r')
  AND (t.tableoid, t.oid) NOT IN (SELECT classid, objid FROM extended)
UNION ALL
SELECT 'SEQUENCE ' || name,
    format('%s from %s by %s, %s to %s, cache %s, cycle %s', seqtypid::regtype, seqstart,
        seqincrement, seqmin, seqmax, seqcache, seqcycle)
FROM pg_sequence JOIN ours ON ours.oid = seqrelid
UNION ALL
SELECT format('POLICY %s on %s', polname, name),
    format('%s %s, roles %s, using %s, check %s', polcmd, polpermissive,
        (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE r::regrole::text END, ', ')
            FROM unnest(polroles) r),
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
FROM pg_policy JOIN ours ON ours.oid = polrelid
UNION ALL
SELECT format('RULE %s on %s', rulename, name), pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN ours ON ours.oid = ev_class WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'COMMENT on ' || pg_describe_object(classoid, objoid, objsubid), description
FROM pg_description d
WHERE objoid >= 16384 AND (classoid, objoid) NOT IN (SELECT classid, objid FROM extended)
UNION ALL
SELECT 'STATISTICS ' || stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
UNION ALL
SELECT format('DEFAULT ACL of %s in %s for %s', defaclrole::regrole,
        CASE defaclnamespace WHEN 0 THEN 'all' ELSE defaclnamespace::regnamespace::text END,
        defaclobjtype), defaclacl::text
FROM pg_default_acl
UNION ALL
SELECT 'EVENT TRIGGER ' || evtname, format('%s, %s, %s', evtevent, evtfoid::regproc, evtenabled)
FROM pg_event_trigger
UNION ALL
SELECT 'PUBLICATION ' || pubname, format('all tables %s: %s', puballtables,
        (SELECT string_agg(format('%I.%I', schemaname, tablename), ', ' ORDER BY 1)
            FROM pg_publication_tables t WHERE t.pubname = p.pubname))
FROM pg_publication p
UNION ALL
SELECT kind, pg_describe_object(class, object, 0) FROM (
    SELECT 'OPERATORS' AS kind, tableoid AS class, oid AS object FROM pg_operator
    UNION ALL SELECT 'CASTS', tableoid, oid FROM pg_cast
    UNION ALL SELECT 'COLLATIONS', tableoid, oid FROM pg_collation
    UNION ALL SELECT 'TEXT SEARCH', tableoid, oid FROM pg_ts_config
    UNION ALL SELECT 'TEXT SEARCH', tableoid, oid FROM pg_ts_dict
) others
WHERE object >= 16384 AND (class, object) NOT IN (SELECT classid, objid FROM extended)
ORDER BY 1, 2
