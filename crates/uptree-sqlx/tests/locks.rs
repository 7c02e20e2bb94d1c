//! Which statements hold up others, and which cannot run in a transaction, is Postgres's to say:
//! what we think of them is held against what it does.

#![cfg(feature = "postgres")]

use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use uptree_sqlx::fuzzing::{Dialect, kinds};

/// What is there before.
const SCHEMA: &str = "
    CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL, c text);
    CREATE TABLE u (a int, b int);
    ALTER TABLE u ADD CONSTRAINT u_a FOREIGN KEY (a) REFERENCES t (a) NOT VALID;
    ALTER TABLE u ADD CONSTRAINT u_b CHECK (b > 0) NOT VALID;
    CREATE INDEX t_b ON t (b);
    CREATE TABLE p (a int, b int) PARTITION BY LIST (a);
    CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
    CREATE TABLE p2 (a int, b int);
    CREATE VIEW v AS SELECT a FROM t;
    CREATE MATERIALIZED VIEW m AS SELECT a FROM t;
    CREATE UNIQUE INDEX m_a ON m (a);
    CREATE SEQUENCE s;
    CREATE TYPE e AS ENUM ('x');
    CREATE TYPE k AS (a int);
    CREATE TABLE typed OF k;
    CREATE DOMAIN d AS int;
    CREATE TABLE of_domain (a d);
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
    CREATE RULE r AS ON DELETE TO u DO INSTEAD NOTHING;
    CREATE POLICY o ON t;
    CREATE STATISTICS st ON a, b FROM t;
    CREATE PUBLICATION pub;
    CREATE ROLE somebody;
    CREATE SCHEMA other;
    CREATE TABLE owned (a int);
    ALTER TABLE owned OWNER TO somebody;
    INSERT INTO t VALUES (1, 2, 'c'); INSERT INTO u VALUES (1, 1);";

/// Modes that conflict with an ordinary read or write, on what was there before.
const STRONG: &str = "
    SELECT count(*) FROM pg_locks JOIN was ON was.oid = relation WHERE pid = pg_backend_pid()
      AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";

/// We say that they hold up others, and they do.
const HURRIED: &[&str] = &[
    "ALTER TABLE t ADD d int",
    "ALTER TABLE t DROP c, ADD d text DEFAULT 'x'",
    "ALTER TABLE t ALTER c SET NOT NULL",
    "ALTER TABLE t ALTER b TYPE bigint",
    "ALTER TABLE t RENAME c TO d",
    "ALTER TABLE t RENAME TO w",
    "ALTER TABLE t ADD CONSTRAINT z CHECK (b > 0) NOT VALID",
    "ALTER TABLE u ADD FOREIGN KEY (b) REFERENCES t (a) NOT VALID",
    "ALTER TABLE u VALIDATE CONSTRAINT u_b, ADD c int",
    "ALTER TABLE t SET SCHEMA other",
    "ALTER TABLE t OWNER TO somebody",
    "ALTER TABLE t DISABLE TRIGGER x",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE p2 SET UNLOGGED",
    "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)",
    "ALTER TABLE p DETACH PARTITION p1",
    "ALTER VIEW v RENAME TO w",
    "ALTER MATERIALIZED VIEW m RENAME TO w",
    "ALTER SEQUENCE s RESTART",
    "ALTER TYPE k ADD ATTRIBUTE b int CASCADE",
    "ALTER DOMAIN d ADD CHECK (VALUE > 0)",
    "ALTER TRIGGER x ON t RENAME TO y",
    "ALTER POLICY o ON t RENAME TO q",
    "ALTER RULE r ON u RENAME TO q",
    "CREATE INDEX ON t (c)",
    "CREATE UNIQUE INDEX z ON t (c)",
    "CREATE TABLE w (a int REFERENCES t (a))",
    "CREATE TABLE w PARTITION OF p FOR VALUES IN (3)",
    "CREATE OR REPLACE VIEW v AS SELECT a, b FROM t",
    "CREATE TRIGGER y AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE RULE q AS ON DELETE TO t DO INSTEAD NOTHING",
    "CREATE POLICY q ON t",
    "DROP TABLE u",
    "DROP INDEX t_b",
    "DROP VIEW v",
    "DROP MATERIALIZED VIEW m",
    "DROP SEQUENCE s",
    "DROP TRIGGER x ON t",
    "DROP RULE r ON u",
    "DROP POLICY o ON t",
    "DROP FUNCTION f CASCADE",
    "DROP TYPE k CASCADE",
    "DROP OWNED BY somebody",
    "LOCK t",
    "LOCK t IN SHARE MODE",
    "TRUNCATE u",
    "CLUSTER t USING t_pkey",
    "REINDEX TABLE t",
    "REINDEX INDEX t_b",
    "REFRESH MATERIALIZED VIEW m",
    "REASSIGN OWNED BY somebody TO postgres",
];

/// We say that they hold up nobody, and they do not.
const OTHERS: &[&str] = &[
    "SELECT * FROM t FOR UPDATE",
    "INSERT INTO t VALUES (5, 5)",
    "UPDATE t SET b = 3",
    "DELETE FROM u",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "DO $$BEGIN UPDATE t SET b = 3; END$$",
    "ALTER TABLE t ALTER b SET STATISTICS 9",
    "ALTER TABLE t ALTER b SET (n_distinct = 5)",
    "ALTER TABLE t SET (fillfactor = 70)",
    "ALTER TABLE t RESET (fillfactor)",
    "ALTER TABLE t CLUSTER ON t_b",
    "ALTER TABLE t SET WITHOUT CLUSTER",
    "ALTER TABLE u VALIDATE CONSTRAINT u_b",
    "ALTER TABLE u VALIDATE CONSTRAINT u_a, VALIDATE CONSTRAINT u_b",
    "ALTER TABLE u VALIDATE CONSTRAINT u_b, ALTER b SET STATISTICS 9",
    "ALTER INDEX t_b RENAME TO t_c",
    "ALTER INDEX t_b SET (fillfactor = 70)",
    "ALTER TYPE e ADD VALUE 'y'",
    "ALTER TYPE e RENAME TO n",
    "ALTER FUNCTION g() RENAME TO h",
    "ALTER SCHEMA other RENAME TO another",
    "ALTER PUBLICATION pub ADD TABLE t",
    "ALTER STATISTICS st RENAME TO su",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO somebody",
    "CREATE TABLE w (a int)",
    "CREATE TABLE w (LIKE t)",
    "CREATE TABLE w () INHERITS (t)",
    "CREATE TABLE w AS SELECT * FROM t",
    "CREATE TEMP TABLE w (a int)",
    "CREATE VIEW w AS SELECT * FROM t",
    "CREATE MATERIALIZED VIEW w AS SELECT * FROM t",
    "CREATE SEQUENCE w",
    "CREATE FUNCTION h() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE n AS ENUM ('x')",
    "CREATE SCHEMA w",
    "CREATE STATISTICS w ON a, c FROM t",
    "CREATE PUBLICATION w FOR TABLE t",
    "DROP FUNCTION g()",
    "DROP TYPE e",
    "DROP STATISTICS st",
    "DROP SCHEMA other",
    "DROP PUBLICATION pub",
    "COMMENT ON TABLE t IS 'x'",
    "COMMENT ON COLUMN t.a IS 'x'",
    "GRANT SELECT ON t TO somebody",
    "REVOKE ALL ON t FROM somebody",
    "ANALYZE t",
    "LOCK t IN ROW EXCLUSIVE MODE",
    "LOCK t IN SHARE UPDATE EXCLUSIVE MODE",
    "SET LOCAL lock_timeout = 5",
    "SELECT set_config('lock_timeout', '5', true)",
];

/// We say that they cannot run in a transaction, and so does the server.
const OUTSIDE: &[&str] = &[
    "CREATE INDEX CONCURRENTLY ON t (c)",
    "DROP INDEX CONCURRENTLY t_b",
    "REINDEX TABLE CONCURRENTLY t",
    "REINDEX (CONCURRENTLY) INDEX t_b",
    "REINDEX SCHEMA public",
    "REINDEX DATABASE locks",
    "REINDEX SYSTEM locks",
    "CLUSTER",
    "VACUUM t",
    "VACUUM FULL t",
    "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
    "ALTER SYSTEM SET work_mem = '5MB'",
    "ALTER DATABASE postgres SET TABLESPACE pg_default",
    "CREATE DATABASE w",
    "DROP DATABASE postgres",
    "CREATE TABLESPACE w LOCATION '/nowhere'",
    "DROP TABLESPACE w",
    "CREATE SUBSCRIPTION w CONNECTION 'dbname=x' PUBLICATION y",
    "DISCARD ALL",
    "COMMIT PREPARED 'x'",
    "ROLLBACK PREPARED 'x'",
];

#[tokio::test]
async fn who_holds_up_others_and_who_needs_no_transaction_is_known() {
    let Some(server) = uptree_tests::Postgres::start() else {
        return;
    };
    server.create_database("locks");
    server.psql("locks", SCHEMA);
    let connection = PgConnection::connect(&server.url("locks")).await;
    let mut connection = connection.expect("it is up");
    let was = "CREATE TEMP TABLE was AS SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    raw_sql(was).execute(&mut connection).await.unwrap();
    let mut wrong = Vec::new();
    let hurried = HURRIED.iter().map(|sql| (sql, true));
    for (sql, expected) in hurried.chain(OTHERS.iter().map(|sql| (sql, false))) {
        let kind = &kinds(sql, Dialect::Postgres)[0];
        let ours = kind.starts_with("Hurried");
        if kind.contains(" outside ") {
            wrong.push(format!("{sql}: it can run in a transaction"));
        }
        let message = format!("BEGIN; {sql}");
        let ran = raw_sql(AssertSqlSafe(message))
            .execute(&mut connection)
            .await;
        if let Err(error) = ran {
            wrong.push(format!("{sql}: {error}"));
            raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
            continue;
        }
        let locks: i64 = sqlx::query_scalar(STRONG)
            .fetch_one(&mut connection)
            .await
            .expect("it can be asked");
        raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
        if (ours, locks > 0) != (expected, expected) {
            wrong.push(format!("{sql}: we {ours}, it {locks}"));
        }
    }
    for sql in OUTSIDE {
        let message = format!("BEGIN; {sql}");
        let ran = raw_sql(AssertSqlSafe(message))
            .execute(&mut connection)
            .await;
        let code = ran.err().and_then(|error| {
            let code = error.as_database_error()?.code();
            code.map(std::borrow::Cow::into_owned)
        });
        raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
        let kind = &kinds(sql, Dialect::Postgres)[0];
        if !kind.contains(" outside ") || code.as_deref() != Some("25001") {
            wrong.push(format!("{sql}: we {kind}, it {code:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
