//! What statements of MySQL are. The answer is as `show` has it.

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("BEGIN", "begin commits"),
    ("START TRANSACTION", "begin commits"),
    ("COMMIT", "commit commits"),
    ("ROLLBACK", "rollback commits"),
    ("ROLLBACK TO SAVEPOINT a", "rollbackto"),
    ("SAVEPOINT a", "savepoint"),
    ("RELEASE SAVEPOINT a", "release"),
    ("XA START 'a'", "prepared commits"),
    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "set"),
    ("SET SESSION TRANSACTION READ ONLY", "set"),
    ("SET NAMES utf8mb4", "settings"),
    ("SET @a = 1", "settings"),
    ("SET SESSION lock_wait_timeout = 1", "lock timeout"),
    ("SET @@session.innodb_lock_wait_timeout = 1", "lock timeout"),
    ("SET a = 1, lock_wait_timeout = 2", "lock timeout"),
    ("SET GLOBAL lock_wait_timeout = 2", "settings"),
    ("SET autocommit = 1", "settings commits"),
    ("SET @@autocommit = 0", "settings commits"),
    ("SET SESSION autocommit = 1", "settings commits"),
    ("SET PASSWORD = 'a'", "settings commits"),
    ("SET foreign_key_checks = 0", "settings"),
    ("/*!40101 SET NAMES utf8 */", "settings"),
    (
        "/*!40014 SET @a=@@b, lock_wait_timeout=0 */",
        "lock timeout",
    ),
    ("SELECT 1", "dml"),
    ("(SELECT 1)", "dml"),
    ("INSERT INTO a VALUES (1)", "dml"),
    ("REPLACE INTO a VALUES (1)", "dml"),
    ("UPDATE a SET b = 1", "dml"),
    ("DELETE FROM a", "dml"),
    ("WITH a AS (SELECT 1) SELECT * FROM a", "dml"),
    ("LOAD DATA INFILE 'a' INTO TABLE b", "dml"),
    ("LOAD INDEX INTO CACHE a", "dml commits"),
    ("CALL p()", "dml commits"),
    ("EXECUTE a", "dml commits"),
    ("PREPARE a FROM 'SELECT 1'", "dml"),
    ("DO SLEEP(1)", "dml"),
    ("BEGIN NOT ATOMIC SELECT 1; END", "dml commits"),
    ("SHOW TABLES", "dml"),
    ("USE a", "settings"),
    ("EXPLAIN SELECT 1", "dml"),
    ("HANDLER a OPEN", "dml"),
    (
        "CREATE TABLE a (b int)",
        "create table a / ordinary commits",
    ),
    (
        "CREATE TABLE IF NOT EXISTS `D b`.`A``x` (b int)",
        "create table if D b.A`x / ordinary commits",
    ),
    (
        "CREATE OR REPLACE TABLE a (b int)",
        "create table or replace a / hurried commits",
    ),
    (
        "CREATE TEMPORARY TABLE a (b int)",
        "create table temporary a / ordinary",
    ),
    (
        "CREATE TABLE a (b int REFERENCES c (d))",
        "create table a / hurried commits",
    ),
    (
        "CREATE TABLE a AS SELECT 1",
        "create table a / ordinary commits",
    ),
    ("CREATE TABLE a LIKE b", "create table a / ordinary commits"),
    (
        "CREATE TABLE Abc (b int)",
        "create table Abc / ordinary commits",
    ),
    (
        "CREATE INDEX a ON b (c)",
        "create index a on b / hurried commits",
    ),
    (
        "CREATE UNIQUE INDEX IF NOT EXISTS a USING BTREE ON d.b (c)",
        "create index unique if a on d.b / hurried commits",
    ),
    (
        "CREATE FULLTEXT INDEX a ON b (c)",
        "create index a on b / hurried commits",
    ),
    (
        "CREATE VIEW a AS SELECT 1",
        "create view a / ordinary commits",
    ),
    (
        "CREATE OR REPLACE ALGORITHM = MERGE DEFINER = `a`@`%` SQL SECURITY INVOKER VIEW d.v AS SELECT 1",
        "create view or replace d.v / hurried commits",
    ),
    (
        "CREATE PROCEDURE p() BEGIN SELECT 1; END",
        "create routine p / ordinary commits",
    ),
    (
        "CREATE DEFINER=CURRENT_USER() PROCEDURE IF NOT EXISTS p() SELECT 1",
        "create routine if p / ordinary commits",
    ),
    (
        "CREATE DEFINER=root@localhost FUNCTION d.f(a int) RETURNS int RETURN 1",
        "create routine d.f / ordinary commits",
    ),
    (
        "CREATE AGGREGATE FUNCTION f RETURNS STRING SONAME 'a'",
        "create routine f / ordinary commits",
    ),
    (
        "CREATE TRIGGER a BEFORE INSERT ON d.b FOR EACH ROW SET NEW.a = 1",
        "create trigger a on d.b / hurried commits",
    ),
    (
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        "create event e / ordinary commits",
    ),
    ("CREATE DATABASE a", "create database a / ordinary commits"),
    (
        "CREATE SCHEMA IF NOT EXISTS a",
        "create schema if a / ordinary commits",
    ),
    ("CREATE USER a", "create role a / ordinary commits"),
    ("CREATE SEQUENCE a", "create sequence a / ordinary commits"),
    (
        "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEFORE INSERT ON b FOR EACH ROW SET NEW.a = 1 */",
        "create trigger t on b / hurried commits",
    ),
    (
        "ALTER TABLE a ADD COLUMN b int FIRST, ADD INDEX i (b), ADD UNIQUE KEY u (b), DROP COLUMN c",
        "alter table a [add column b] [add index i] [add index u] [drop column c] / hurried commits",
    ),
    (
        "ALTER TABLE a MODIFY COLUMN b text, CHANGE COLUMN c d int, ALGORITHM=INPLACE, LOCK=NONE",
        "alter table a [alter column b] [alter column c to d] [other other] [other other] / hurried commits",
    ),
    (
        "ALTER TABLE a ADD b int",
        "alter table a [add column b] / hurried commits",
    ),
    (
        "ALTER TABLE a ADD (b int, c int)",
        "alter table a [add column] / hurried commits",
    ),
    (
        "ALTER TABLE a DROP FOREIGN KEY f, DROP PRIMARY KEY, DROP INDEX i, DROP KEY k, DROP CHECK c",
        "alter table a [drop constraint f] [drop constraint] [drop index i] [drop index k] [drop constraint c] / hurried commits",
    ),
    (
        "ALTER TABLE a RENAME TO b",
        "rename table a to b / hurried commits",
    ),
    (
        "ALTER TABLE a RENAME b",
        "rename table a to b / hurried commits",
    ),
    (
        "ALTER TABLE a RENAME AS b",
        "rename table a to b / hurried commits",
    ),
    (
        "ALTER TABLE a RENAME COLUMN b TO c",
        "alter table a [rename column b to c] / hurried commits",
    ),
    (
        "ALTER TABLE a RENAME INDEX b TO c",
        "alter table a [rename index b to c] / hurried commits",
    ),
    (
        "ALTER TABLE a ADD CONSTRAINT fk FOREIGN KEY (b) REFERENCES c (d)",
        "alter table a [add constraint fk] / hurried commits",
    ),
    (
        "ALTER TABLE a ADD FOREIGN KEY fk (b) REFERENCES c (d)",
        "alter table a [add constraint fk] / hurried commits",
    ),
    (
        "ALTER TABLE a ENGINE = InnoDB",
        "alter table a [other other] / hurried commits",
    ),
    (
        "ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4",
        "alter table a [other other] / hurried commits",
    ),
    (
        "ALTER IGNORE TABLE a ADD UNIQUE (b)",
        "alter table a [add index] / hurried commits",
    ),
    (
        "ALTER ONLINE TABLE a ADD b int",
        "alter table a [add column b] / hurried commits",
    ),
    (
        "ALTER TABLE a ADD FULLTEXT INDEX i (b), ADD SPATIAL KEY (c)",
        "alter table a [add index i] [add index] / hurried commits",
    ),
    (
        "ALTER TABLE a DROP PARTITION p",
        "alter table a [drop partition p] / hurried commits",
    ),
    (
        "ALTER TABLE a ADD PARTITION (PARTITION p VALUES IN (1))",
        "alter table a [add partition] / hurried commits",
    ),
    (
        "ALTER TABLE IF EXISTS a DROP COLUMN IF EXISTS b",
        "alter table if a [drop column if b] / hurried commits",
    ),
    (
        "ALTER TABLE a ALTER b SET DEFAULT 1",
        "alter table a [alter column b] / hurried commits",
    ),
    (
        "ALTER TABLE a COMMENT = 'x'",
        "alter table a [other other] / hurried commits",
    ),
    ("ALTER VIEW a AS SELECT 1", "alter view a / hurried commits"),
    (
        "ALTER DATABASE a CHARACTER SET utf8mb4",
        "alter database a / ordinary commits",
    ),
    ("ALTER EVENT e DISABLE", "alter event e / ordinary commits"),
    (
        "ALTER PROCEDURE p COMMENT 'a'",
        "alter routine p / ordinary commits",
    ),
    ("ALTER USER a", "alter role a / ordinary commits"),
    ("DROP TABLE a, d.b", "drop table a,d.b / hurried commits"),
    (
        "DROP TABLE IF EXISTS a CASCADE",
        "drop table if a / hurried commits",
    ),
    (
        "DROP TEMPORARY TABLE IF EXISTS a",
        "drop table temporary if a / hurried",
    ),
    (
        "DROP INDEX i ON d.a",
        "drop index i on d.a / hurried commits",
    ),
    (
        "DROP INDEX IF EXISTS i ON a",
        "drop index if i on a / hurried commits",
    ),
    (
        "DROP VIEW IF EXISTS a, b",
        "drop view if a,b / hurried commits",
    ),
    (
        "DROP TRIGGER IF EXISTS d.t",
        "drop trigger if d.t / hurried commits",
    ),
    (
        "DROP PROCEDURE IF EXISTS p",
        "drop routine if p / ordinary commits",
    ),
    ("DROP FUNCTION f", "drop routine f / ordinary commits"),
    ("DROP EVENT e", "drop event e / ordinary commits"),
    ("DROP DATABASE a", "drop database a / hurried commits"),
    ("DROP USER a@b", "drop role a / ordinary commits"),
    ("DROP PREPARE a", "dml"),
    (
        "RENAME TABLE a TO b",
        "rename table a to b [rename table a to b] / hurried commits",
    ),
    (
        "RENAME TABLE d.a TO d.b, c TO d",
        "rename table d.a,c [rename table d.a to d.b] [rename table c to d] / hurried commits",
    ),
    ("RENAME USER a TO b", "rename role / ordinary commits"),
    ("START SLAVE", "other other / ordinary commits"),
    ("SET @@session.autocommit = 1", "settings commits"),
    ("SET @@global.a = 1", "settings"),
    (
        "ALTER TABLE a ADD INDEX USING BTREE (b)",
        "alter table a [add index] / hurried commits",
    ),
    ("TRUNCATE a", "truncate table a / hurried commits"),
    ("TRUNCATE TABLE d.a", "truncate table d.a / hurried commits"),
    (
        "LOCK TABLES a READ, b AS c WRITE",
        "lock table / hurried commits",
    ),
    ("UNLOCK TABLES", "lock table / ordinary commits"),
    ("OPTIMIZE TABLE a", "rewrite table a / hurried commits"),
    ("REPAIR LOCAL TABLE a", "rewrite table a / hurried commits"),
    ("ANALYZE TABLE a", "analyze a commits"),
    ("ANALYZE SELECT 1", "dml"),
    ("ANALYZE FORMAT=JSON SELECT 1", "dml"),
    ("CHECK TABLE a", "other other / ordinary commits"),
    ("CHECKSUM TABLE a", "dml"),
    ("FLUSH TABLES", "other other / ordinary commits"),
    ("GRANT ALL ON a.* TO b", "grant other / ordinary commits"),
    (
        "REVOKE ALL ON a.* FROM b",
        "revoke other / ordinary commits",
    ),
    (
        "INSTALL PLUGIN a SONAME 'b'",
        "other other / ordinary commits",
    ),
    ("KILL 1", "dml"),
];
