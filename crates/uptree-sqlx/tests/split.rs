//! Where a statement ends is the server's to say: what we think of it is held against what real
//! ones do.

use std::ops::Range;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, Executor, raw_sql};
use uptree_sqlx::fuzzing::{Dialect, is_sure, statements};

/// Runs a file on a connection: how many statements the database says that it has completed.
async fn completed<'c, E>(executor: E, sql: &str) -> Result<usize, String>
where
    E: Executor<'c>,
{
    let results = raw_sql(AssertSqlSafe(sql)).execute_many(executor);
    let results: Result<Vec<_>, _> = results.try_collect().await;
    results
        .map(|results| results.len())
        .map_err(|error| error.to_string())
}

/// What we think of a file, against what the database says of the whole and of each statement by
/// itself.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    sure: bool,
    whole: Result<usize, String>,
    each: Vec<Result<usize, String>>,
}

impl Counts {
    fn expected(sql: &str, dialect: Dialect) -> Self {
        let count = pieces(sql, dialect).count();
        Self {
            sure: true,
            whole: Ok(count),
            each: vec![Ok(1); count],
        }
    }
}

fn pieces(sql: &str, dialect: Dialect) -> impl Iterator<Item = &str> {
    let ranges = statements(sql, dialect).into_iter();
    ranges.map(move |range: Range<usize>| &sql[range])
}

#[track_caller]
fn report(wrong: &[(&str, Counts, Counts)]) {
    for (sql, ours, theirs) in wrong {
        println!("{sql}\n  we: {ours:?}\n  it: {theirs:?}\n");
    }
    assert!(wrong.is_empty(), "{} files", wrong.len());
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_counts_statements_as_we_do() {
    let Some(server) = uptree_tests::Postgres::start() else {
        return;
    };
    server.create_database("split");
    let url = server.url("split");
    let mut connection = sqlx::PgConnection::connect(&url).await.expect("it is up");
    let mut wrong = Vec::new();
    for sql in POSTGRES {
        let ours = Counts::expected(sql, Dialect::Postgres);
        raw_sql("BEGIN").execute(&mut connection).await.unwrap();
        let whole = completed(&mut connection, sql).await;
        raw_sql("ROLLBACK; BEGIN")
            .execute(&mut connection)
            .await
            .unwrap();
        let mut each = Vec::new();
        for piece in pieces(sql, Dialect::Postgres) {
            each.push(completed(&mut connection, piece).await);
        }
        raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
        let sure = is_sure(sql, Dialect::Postgres);
        let theirs = Counts { sure, whole, each };
        if ours != theirs {
            wrong.push((*sql, ours, theirs));
        }
    }
    report(&wrong);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_counts_statements_as_we_do() {
    let mut wrong = Vec::new();
    for sql in SQLITE {
        let ours = Counts::expected(sql, Dialect::Sqlite);
        let whole = completed(&mut memory().await, sql).await;
        let mut connection = memory().await;
        let mut each = Vec::new();
        for piece in pieces(sql, Dialect::Sqlite) {
            each.push(completed(&mut connection, piece).await);
        }
        let sure = is_sure(sql, Dialect::Sqlite);
        let theirs = Counts { sure, whole, each };
        if ours != theirs {
            wrong.push((*sql, ours, theirs));
        }
    }
    report(&wrong);
}

/// A connection to a database that is empty.
#[cfg(feature = "mysql")]
async fn fresh(server: &uptree_tests::MariaDb) -> sqlx::MySqlConnection {
    let connection = sqlx::MySqlConnection::connect(&server.url("")).await;
    let mut connection = connection.expect("it is up");
    let sql = "DROP DATABASE IF EXISTS split; CREATE DATABASE split; USE split";
    completed(&mut connection, sql).await.expect("it may");
    connection
}

#[cfg(feature = "sqlite")]
async fn memory() -> sqlx::SqliteConnection {
    let connection = sqlx::SqliteConnection::connect("sqlite::memory:").await;
    connection.expect("there is room")
}

/// Each statement is sent by itself, as a migration's are; and all at once, to see that no two are
/// one.
#[cfg(feature = "mysql")]
#[tokio::test]
async fn mariadb_counts_statements_as_we_do() {
    let Some(server) = uptree_tests::MariaDb::start() else {
        return;
    };
    let mut wrong = Vec::new();
    for sql in MYSQL {
        let ours = Counts::expected(sql, Dialect::MySql);
        let mut each = Vec::new();
        let mut connection = fresh(&server).await;
        for piece in pieces(sql, Dialect::MySql) {
            // A call returns more than one result.
            let ended = completed(&mut connection, piece).await;
            each.push(ended.map(|_| 1));
        }
        // Empty statements are an error there.
        let all: Vec<_> = pieces(sql, Dialect::MySql).collect();
        let whole = completed(&mut fresh(&server).await, &all.join(";\n")).await;
        let whole = whole.map(|_| all.len());
        let sure = is_sure(sql, Dialect::MySql);
        let theirs = Counts { sure, whole, each };
        if ours != theirs {
            wrong.push((*sql, ours, theirs));
        }
    }
    report(&wrong);
}

const POSTGRES: &[&str] = &[
    "SELECT 1",
    "SELECT 1;",
    ";;SELECT 1;;;SELECT 2;;",
    "-- only\nSELECT 1 -- a comment; here\n; SELECT 2 -- and here;",
    "/* ; */ SELECT /* ; */ 1 /* ; */; /* ; */ SELECT 2 /* ; /* ; */ ; */;",
    "SELECT 1 /*/ ; */; SELECT 2 /* /*/ ; */ ; */; SELECT 3 /***/; SELECT 4 /****/",
    "SELECT 5 - -1;SELECT 5--;\n;SELECT 6 */* ; */ 7",
    "SELECT ';', '--', '/*', 'it''s;', E'\\';', E'\\\\';SELECT 2",
    "SELECT 'a'\n'b;c'\n  -- between;\n  'd;e'; SELECT 2",
    "SELECT E'a\\';'\n'b\\';'\r\n'c\\\\'; SELECT 2",
    "SELECT e'a\\';' \t -- comment ; '\n  '\\';' ; SELECT 2",
    "SELECT U&'\\0441;' , U&\"\\0441;\" FROM (SELECT 1 AS U&\"\\0441;\") AS t; SELECT 2",
    "SELECT U&'d!0061;t' UESCAPE '!'; SELECT 2",
    "SELECT N'a;b', B'01', X'1F'; SELECT 2",
    "SELECT 1 AS \"a;b\", 2 AS \"a\"\"b;\"; SELECT 2",
    "SELECT $$a;b$$, $x$ $$ ; $$ $x$, $y$ $z$ ; $y$; SELECT 2",
    "SELECT $größe$ ; $groß$ ; $größe$, $_1$;$_1$; SELECT 2",
    "SELECT $a$ ; $A$ ; $a$; SELECT $$$$; SELECT $a$$a$; SELECT $a$$$;$$$a$",
    "SELECT $a$ $b$a$; SELECT 2 -- $a$",
    "SELECT 1 AS a$b$c; SELECT 2 AS größe$",
    "PREPARE p AS SELECT $1::int, $2::text; EXECUTE p(1, 'a;b'); DEALLOCATE p",
    "PREPARE q AS SELECT $1::int+$2::int; EXECUTE q(1, 2); DEALLOCATE q",
    "DO $$ BEGIN PERFORM 1; PERFORM 2; END $$; SELECT 1",
    "DO $do$ DECLARE a text := $q$;$q$; BEGIN IF a = ';' THEN PERFORM 1; END IF; END $do$",
    "DO LANGUAGE plpgsql 'BEGIN PERFORM 1; PERFORM ''a;''; END'; SELECT 1",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; SELECT 2; $$; SELECT f()",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2;'; SELECT f()",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT f()",
    "CREATE OR REPLACE FUNCTION f() RETURNS void BEGIN ATOMIC END; SELECT 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n \
     SELECT CASE WHEN false THEN 1 ELSE CASE 1 WHEN 1 THEN 2 END END;\nEND; SELECT f()",
    "CREATE FUNCTION f(\"begin\" int DEFAULT 1, \"end\" int = 2) RETURNS int \
     BEGIN ATOMIC SELECT \"begin\" AS \"end\"; SELECT 1 AS end; END; SELECT f()",
    "CREATE FUNCTION f() RETURNS TABLE (begin int) BEGIN ATOMIC SELECT 1; END; SELECT 1",
    "CREATE FUNCTION begin() RETURNS int RETURN 1; SELECT begin()",
    "CREATE TABLE t (a int); CREATE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); \
     INSERT INTO t SELECT 2; /* END; */ END; CALL p()",
    "CREATE FUNCTION f() RETURNS int RETURN CASE WHEN true THEN 1 END; SELECT f()",
    "CREATE TABLE t (a int); CREATE TABLE l (a int); \
     CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO l VALUES (1); INSERT INTO l VALUES (2);); \
     INSERT INTO t VALUES (1); SELECT count(*) FROM l",
    "CREATE TABLE t (a int); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING; DELETE FROM t",
    "CREATE TABLE t (a int, \"function\" int); CREATE TABLE function (begin int)",
    "CREATE TABLE t (\"function\" int, begin int, atomic int, \"end\" int); SELECT begin FROM t",
    "CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT a FROM t; SELECT * FROM s.v",
    "CREATE TEMP TABLE t AS SELECT 1 AS a; COMMENT ON TABLE t IS 'a;b'; TRUNCATE t",
    "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$; \
     CREATE TABLE t (a int); CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION g(); \
     INSERT INTO t VALUES (1) RETURNING a",
    "CREATE TYPE e AS ENUM ('a;', 'b'); ALTER TYPE e ADD VALUE 'c;'; CREATE DOMAIN d AS e",
    "SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a",
    "SET LOCAL search_path = public; SET CONSTRAINTS ALL IMMEDIATE; SHOW search_path; RESET search_path",
    "WITH a AS (SELECT 1), b AS (SELECT 2) SELECT * FROM a, b; VALUES (1), (2); TABLE pg_am",
    "(SELECT 1) UNION (SELECT 2); ((SELECT 3))",
    "EXPLAIN SELECT 1; EXPLAIN (ANALYZE, COSTS off) SELECT 2",
    "SELECT (ARRAY[1,2])[1:2], '{a;b}'::text[], (ARRAY['x;y'])[1]; SELECT 1",
    "SELECT 1 WHERE 'a' ~ ';' OR ';' !~* 'b' OR 1 <> -1",
    "SELECT '{\"a\": \";\"}'::jsonb @> '{}', '{\"a;\": 1}'::jsonb ? 'a;', '[1]'::jsonb->0; SELECT 2",
    "SELECT 1.5e3,.5,1e-3; SELECT 2.; SELECT 0",
    "SELECT 'C:\\dir'; SELECT '\\n;'; SELECT 2",
    "\r\nSELECT 1;\r\n\r\n-- a\r\nSELECT 2;\r\n",
    "SELECT\u{c}1\u{c};\tSELECT\t2",
    "SELECT 1 AS a\u{a0}b; SELECT 2 AS \u{3000}; SELECT 3 AS é",
    "SELECT 'é;ü', \"größe\" FROM (SELECT 1 AS größe) AS t; SELECT '🦀;'",
    "DECLARE c CURSOR FOR SELECT 1; FETCH c; MOVE c; CLOSE c",
    "LOCK TABLE pg_am IN ACCESS SHARE MODE; NOTIFY a, 'b;c'; LISTEN a; UNLISTEN a",
    "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY, b text DEFAULT ';' CHECK (b <> ';;')); \
     CREATE UNIQUE INDEX ON t ((b || ';')) WHERE b <> ';'; ALTER TABLE t ADD c int, DROP b",
    "SELECT 1 AS select; SELECT 2 AS create; SELECT 3 AS function",
    "CREATE AGGREGATE ag (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0'); SELECT ag(1)",
];

const SQLITE: &[&str] = &[
    "SELECT 1",
    "SELECT 1;",
    ";;SELECT 1;;;SELECT 2;;",
    "\u{feff}SELECT 1;\r\nSELECT 2;\r\n",
    "-- only\nSELECT 1 -- a comment; here\n; SELECT 2 -- and here;",
    "/* ; */ SELECT /* ; */ 1 /* ; */; /* ; */ SELECT 2 /* ; /* ; */",
    "SELECT 1 /*/ ; */; SELECT 2 /***/; SELECT 3 /****/; SELECT 4/**/+/**/1",
    "SELECT 5 - -1;SELECT 5--;\n;SELECT 6 */* ; */ 7",
    "SELECT ';', '--', '/*', 'it''s;', '\\';SELECT 2, x'3b', X'3B'",
    "SELECT \"a;b\", `c;d`, [e;f] FROM (SELECT 1 AS \"a;b\", 2 AS `c;d`, 3 AS [e;f]); SELECT 2",
    "SELECT 1 AS \"a\"\"b;\", 2 AS `a``b;`; SELECT 2",
    "SELECT 1 AS a$b, 2 AS größe, 3 AS \u{a0}b; SELECT 2",
    "SELECT ?1, :a, @b, $c, ?; SELECT 2",
    "SELECT 1.5e3,.5,1e-3, 0x3b; SELECT 2.; SELECT 0",
    "CREATE TABLE t (a); CREATE TRIGGER x AFTER INSERT ON t BEGIN \
     UPDATE t SET a = 1; DELETE FROM t; END; INSERT INTO t VALUES (1)",
    "CREATE TABLE t (a); CREATE TEMP TRIGGER x AFTER INSERT ON t WHEN CASE new.a WHEN 1 THEN 1 END \
     BEGIN SELECT CASE WHEN 1 THEN CASE WHEN 2 THEN 3 END END; END; SELECT 2",
    "CREATE TABLE t (\"begin\", \"end\"); CREATE TEMPORARY TRIGGER IF NOT EXISTS x BEFORE UPDATE ON t \
     FOR EACH ROW BEGIN SELECT end, begin FROM t; UPDATE t SET end = 1; INSERT INTO t (end) \
     VALUES (1); END; SELECT 2",
    "CREATE TABLE t (begin, end, a); CREATE TRIGGER begin AFTER INSERT ON t BEGIN SELECT 1; END; \
     DROP TRIGGER begin",
    "CREATE TABLE t (a); CREATE TRIGGER x AFTER INSERT ON t BEGIN /* ; END; */ SELECT ';END;'; -- END;\n\
     END; SELECT 2",
    "CREATE TABLE t (a); CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1;\nEND /* over */ ; SELECT 2",
    "CREATE TABLE t (a); CREATE VIEW v AS SELECT * FROM t; CREATE TRIGGER x INSTEAD OF DELETE ON v \
     BEGIN INSERT INTO t VALUES (old.a); END; DELETE FROM v",
    "CREATE TABLE t (a); EXPLAIN CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END; SELECT 2",
    "CREATE TABLE t (a); EXPLAIN QUERY PLAN CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
    "CREATE TABLE trigger (a); CREATE TABLE t2 (trigger)",
    "BEGIN; SELECT 1; END; BEGIN IMMEDIATE; COMMIT; BEGIN; ROLLBACK",
    "BEGIN; SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a; END TRANSACTION",
    "CREATE TABLE t (a, b DEFAULT ';' CHECK (b <> ';;')); CREATE INDEX i ON t (b || ';') \
     WHERE b <> ';'; ALTER TABLE t ADD COLUMN c DEFAULT 'x;y'; DROP INDEX i; REINDEX; ANALYZE",
    "CREATE TABLE t (a); INSERT INTO t VALUES ('a;'), ('b'); UPDATE t SET a = ';' RETURNING a; \
     DELETE FROM t WHERE a = ';'",
    "CREATE TABLE t (a PRIMARY KEY) WITHOUT ROWID; REPLACE INTO t VALUES (1); \
     INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING; INSERT OR IGNORE INTO t VALUES (1)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n; \
     VALUES (1), (2)",
    "PRAGMA foreign_keys = OFF; PRAGMA table_info('a;b'); PRAGMA foreign_keys(1)",
    "ATTACH ':memory:' AS x; CREATE TABLE x.t (a); DETACH x; VACUUM",
    "SELECT json('{\"a\": \";\"}') ->> '$.a;'; SELECT 'a' LIKE ';' ESCAPE ';'; SELECT 2",
    "CREATE VIRTUAL TABLE f USING fts5(a, tokenize = 'unicode61 tokenchars '';'''); SELECT 2",
    "SELECT 'a\nb;\nc'; SELECT \"x;y\" FROM (SELECT 1 AS \"x;y\")",
    "SELECT\u{c}1\u{c};\tSELECT\t2",
    "SELECT 'é;ü🦀;'; SELECT 2",
    "SELECT 1; -- the file ends in this",
    "/* a */ -- b\n",
    "",
    " \r\n\t",
];

const MYSQL: &[&str] = &[
    "SELECT 1",
    "SELECT 1;",
    ";;SELECT 1;;;SELECT 2;;",
    "-- only\nSELECT 1 -- a comment; here\n; SELECT 2 -- and here;",
    "# only;\nSELECT 1 # a comment; here\n; SELECT 2 # and here;",
    "/* ; */ SELECT /* ; */ 1 /* ; */; /* ; */ SELECT 2 /* ; /* ; */",
    "SELECT 5--2, '--;';SELECT 5--\t;\n;SELECT 6 - -1",
    "SELECT ';', '--', '/*', 'it''s;', '\\';', '\\\\', \"a;b\", \"a\\\";\", \"a\"\";\";SELECT 2",
    "SELECT 1 AS `a;b`, 2 AS `a``b;`, 3 AS `a\\`; SELECT 2",
    "SELECT N'a;b', x'3b', b'01', 0x3b, _utf8mb4'a;b'; SELECT 2",
    "SELECT 'a' 'b;c'\n'd;e'; SELECT @a := 1, @`b;c` := ';'; SELECT @@version",
    "SELECT 1 AS a$b, 2 AS größe; SELECT 3 AS $x",
    "/*!40101 SET NAMES utf8mb4 */; SELECT 1; /*! SELECT 2 */; /*M! SELECT 3 */",
    "SELECT 1 /*! + 1 */ /*!99999 + nothing */ /*!50000 + 2*/; SELECT 2 /*!99999 , 3 */",
    "SELECT 1.5e3,.5,1e-3; SELECT 2.; SELECT 0",
    "CREATE PROCEDURE p() SELECT 1; CALL p(); DROP PROCEDURE p",
    "CREATE PROCEDURE p() BEGIN END; CALL p()",
    "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END; SELECT 3",
    "CREATE OR REPLACE DEFINER = CURRENT_USER() PROCEDURE p() BEGIN SELECT 1; END; \
     CREATE PROCEDURE IF NOT EXISTS p() BEGIN SELECT 1; END; SELECT 2",
    "CREATE DEFINER=`root`@`localhost` PROCEDURE p(IN a INT, OUT b INT) COMMENT 'a;b' \
     LANGUAGE SQL NOT DETERMINISTIC READS SQL DATA SQL SECURITY INVOKER \
     one: BEGIN two: BEGIN SELECT 1; LEAVE one; END two; END one; SELECT 2",
    "CREATE PROCEDURE p(a INT) BEGIN IF a = 1 THEN SELECT 1; ELSEIF (a = 2) THEN SELECT 2; \
     ELSE IF a = 3 THEN SELECT 3; END IF; END IF; END; SELECT 2",
    "CREATE PROCEDURE p(a INT) IF a THEN SELECT 1; ELSE SELECT 2; END IF; SELECT 3",
    "CREATE PROCEDURE p(a INT) IF (a) THEN SELECT IF(a, 1, 2); END IF; SELECT IF(1, 2, 3)",
    "CREATE PROCEDURE p(a INT) BEGIN CASE a WHEN 1 THEN SELECT 1; WHEN 2 THEN BEGIN SELECT 2; END; \
     ELSE SELECT CASE WHEN a THEN CASE a WHEN 3 THEN 4 END ELSE 5 END; END CASE; END; SELECT 2",
    "CREATE PROCEDURE p(a INT) CASE WHEN a THEN SELECT 1; ELSE BEGIN END; END CASE; SELECT 2",
    "CREATE PROCEDURE p() BEGIN DECLARE i INT DEFAULT 0; WHILE i < 3 DO SET i = i + 1; END WHILE; \
     a: LOOP SET i = i - 1; IF i < 0 THEN LEAVE a; END IF; ITERATE a; END LOOP a; \
     REPEAT SET i = i + 1; UNTIL i > 3 END REPEAT; END; CALL p()",
    "CREATE PROCEDURE p() a: WHILE 0 DO SELECT REPEAT('a;', 3); END WHILE a; SELECT REPEAT('b', 2)",
    "CREATE PROCEDURE p() REPEAT SELECT 1; UNTIL 1 END REPEAT; SELECT 2",
    "CREATE PROCEDURE p() LOOP SELECT 1; END LOOP; SELECT 2",
    "CREATE PROCEDURE p() BEGIN DECLARE c CURSOR FOR SELECT 1; \
     DECLARE EXIT HANDLER FOR SQLEXCEPTION, NOT FOUND BEGIN ROLLBACK; RESIGNAL; END; START TRANSACTION; COMMIT; END; SELECT 2",
    "CREATE PROCEDURE p() BEGIN DECLARE no_table CONDITION FOR SQLSTATE VALUE '42S02'; \
     DECLARE CONTINUE HANDLER FOR 1062 SET @a = IF(1, 2, 3); \
     DECLARE CONTINUE HANDLER FOR no_table, SQLSTATE VALUE '42000', SQLWARNING WHILE 0 DO SET @a = 1; END WHILE; \
     DECLARE CONTINUE HANDLER FOR SQLSTATE '23000' IF 1 THEN SET @a = 1; END IF; SELECT 1; END; SELECT 2",
    "CREATE PROCEDURE p() BEGIN DROP TABLE IF EXISTS a; CREATE TABLE IF NOT EXISTS a (b INT); \
     CREATE TEMPORARY TABLE c AS SELECT 1; INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE b = 2; END; \
     SELECT 2",
    "CREATE PROCEDURE p() BEGIN FOR i IN 1..3 DO SELECT i; END FOR; \
     FOR r IN (SELECT 1 AS a) DO SELECT r.a; END FOR; END; CALL p()",
    "CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a + 1; SELECT f(1)",
    "CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN CASE a WHEN 1 THEN 2 END; SELECT f(1)",
    "CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN IF(a, 1, REPEAT('1', 2)); SELECT f(1)",
    "CREATE FUNCTION f() RETURNS VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NO SQL \
     RETURN 'a;'; SELECT f()",
    "CREATE FUNCTION f(a ENUM('b;', 'c')) RETURNS SET('a', 'b') CHARSET utf8mb4 DETERMINISTIC \
     BEGIN RETURN 'a'; END; SELECT f('c')",
    "CREATE FUNCTION f() RETURNS VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NO SQL \
     one: BEGIN IF 1 THEN RETURN 'a;'; END IF; RETURN 'b'; END one; SELECT f()",
    "CREATE FUNCTION f() RETURNS NATIONAL CHARACTER VARYING(9) COMMENT 'x' DETERMINISTIC \
     BEGIN RETURN 'a;'; END; SELECT f()",
    "CREATE FUNCTION f() RETURNS INT UNSIGNED DETERMINISTIC BEGIN DECLARE a INT; SET a := 1; \
     SELECT COUNT(*) INTO a FROM (SELECT 1) AS t; RETURN a; END; SELECT f()",
    "CREATE TABLE t (a INT, `begin` INT, `end` INT); \
     CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1; \
     CREATE TRIGGER y BEFORE INSERT ON t FOR EACH ROW FOLLOWS x BEGIN SET NEW.a = 2; END; \
     CREATE TRIGGER z BEFORE INSERT ON t FOR EACH ROW PRECEDES `y` SET NEW.a = IF(1, 2, 3); SELECT 1",
    "CREATE TABLE t (a INT, begin INT, end INT); \
     CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW BEGIN IF NEW.a > OLD.a THEN \
     SET NEW.begin = 1, NEW.end = CASE WHEN NEW.end THEN t.end ELSE end END; END IF; \
     INSERT INTO l (begin, end) VALUES (1, 2); UPDATE t SET end = begin; END; SELECT begin, end FROM t",
    "CREATE TABLE t (a INT); CREATE TRIGGER x BEFORE DELETE ON t FOR EACH ROW \
     IF OLD.a THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no;'; END IF; DELETE FROM t",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' ON COMPLETION PRESERVE DISABLE \
     COMMENT 'a;' DO BEGIN SELECT 1; SELECT 2; END; SELECT 2",
    "CREATE EVENT e ON SCHEDULE AT '2030-01-01' DO DELETE FROM t; ALTER EVENT e DISABLE; \
     ALTER EVENT e DO BEGIN SELECT 1; END; DROP EVENT e",
    "CREATE TABLE t (a INT); /*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ \
     /*!50003 TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.a = 1; SET NEW.a = 2; END */; \
     SELECT 1",
    "BEGIN NOT ATOMIC SELECT 1; IF 1 THEN SELECT 2; END IF; END; SELECT 3",
    "START TRANSACTION; SELECT 1; COMMIT; BEGIN; ROLLBACK; BEGIN WORK; SAVEPOINT a; ROLLBACK TO a; COMMIT",
    "CREATE TABLE procedure_log (a INT, function INT); CREATE TABLE `function` (b INT); \
     CREATE TABLE t (a INT COMMENT 'x;y', b TEXT DEFAULT ';'); \
     ALTER TABLE t ADD c INT, DROP COLUMN b; CREATE INDEX i ON t (a); RENAME TABLE t TO u",
    "CREATE VIEW v AS SELECT CASE WHEN 1 THEN ';' END AS a; \
     CREATE OR REPLACE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW v AS SELECT IF(1, 2, 3) AS a",
    "CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2); REPLACE INTO t SET a = 3; \
     DELETE FROM t WHERE a = 1; WITH c AS (SELECT * FROM t) SELECT * FROM c; TRUNCATE t",
    "PREPARE p FROM 'SELECT 1; '; EXECUTE p; DEALLOCATE PREPARE p; SELECT 2",
    "SET @a = 'x;', @b = IF(1, 2, 3); SET SESSION sql_mode = CONCAT(@@sql_mode, ''); SELECT @a",
    "SELECT 'é;ü🦀;' AS `größe;`; SELECT 2",
    "\r\nSELECT 1;\r\n\r\n-- a\r\nSELECT 2;\r\n",
    "SELECT\u{c}1\u{b};\tSELECT\t2",
];
