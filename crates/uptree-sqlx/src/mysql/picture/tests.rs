use super::*;
use crate::{mysql::kind::is_atomic, statement::parse};

/// How each statement is recovered from: by `Repeat`, by `Ask`, or by what is looked at.
#[test]
fn it_is_known_what_a_statement_touches() {
    for (sql, expected) in [
        ("CREATE TABLE a (id INT)", "tables a"),
        ("CREATE TABLE IF NOT EXISTS a (id INT)", "repeat"),
        ("CREATE OR REPLACE TABLE a (id INT)", "repeat"),
        ("CREATE TABLE a AS SELECT 1", "tables a"),
        ("DROP TABLE a, `b`", "tables a b"),
        ("DROP TABLE IF EXISTS a", "repeat"),
        ("TRUNCATE TABLE a", "repeat"),
        ("TRUNCATE a", "repeat"),
        ("ALTER TABLE a ADD b INT", "columns a"),
        ("ALTER TABLE `my db`.`a b` DROP b", "columns a b in my db"),
        ("ALTER TABLE a RENAME TO b", "columns a b"),
        ("ALTER TABLE a ADD c INT, RENAME b", "columns a b"),
        ("ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b", "ask"),
        ("ALTER TABLE a DISCARD TABLESPACE", "ask"),
        ("RENAME TABLE a TO b", "columns a b"),
        ("RENAME TABLE a TO b, c TO a", "columns a c b a"),
        ("RENAME TABLE a TO c, b TO a, c TO b", "ask"),
        ("RENAME USER a TO b", "ask"),
        ("CREATE UNIQUE INDEX i ON a (b)", "columns a"),
        ("DROP INDEX i ON a", "columns a"),
        ("CREATE VIEW v AS SELECT 1", "tables v"),
        ("ALTER VIEW v AS SELECT 1", "repeat"),
        (
            "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x = 1",
            "triggers a",
        ),
        ("DROP TRIGGER t", "triggers t"),
        ("CREATE PROCEDURE p() SELECT 1", "routines p"),
        ("DROP FUNCTION f", "routines f"),
        (
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
            "events e",
        ),
        ("ALTER EVENT e RENAME TO f", "events e"),
        ("CREATE DATABASE d", "schemata d"),
        ("ALTER DATABASE d CHARACTER SET utf8mb4", "repeat"),
        ("CREATE SEQUENCE s", "tables s"),
        ("ANALYZE TABLE a", "repeat"),
        ("OPTIMIZE TABLE a", "repeat"),
        ("LOCK TABLES a WRITE", "repeat"),
        ("UNLOCK TABLES", "repeat"),
        ("FLUSH TABLES", "repeat"),
        ("SET PASSWORD = 'x'", "repeat"),
        ("SET autocommit = 1", "repeat"),
        ("GRANT SELECT ON a TO b", "repeat"),
        ("REVOKE SELECT ON a FROM b", "ask"),
        ("CREATE USER u", "ask"),
        ("CREATE USER IF NOT EXISTS u", "repeat"),
        ("DROP USER u", "ask"),
        ("INSTALL SONAME 'x'", "ask"),
        (
            "SET STATEMENT lock_wait_timeout = 5 FOR DROP TABLE a",
            "tables a",
        ),
        ("IMPORT TABLE FROM 'a.sdi'", "ask"),
        ("CALL p()", "ask"),
        ("EXECUTE s", "ask"),
        (
            "/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`h`*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x = 1 */",
            "triggers a",
        ),
    ] {
        let statements = parse(sql, Dialect::MySql);
        assert!(!is_atomic(&statements[0], false), "{sql}");
        let found = match recovery(&statements[0]) {
            Recovery::Repeat => "repeat".to_owned(),
            Recovery::Ask => "ask".to_owned(),
            Recovery::Compare(picture) => in_words(&picture),
        };
        assert_eq!(found, expected, "{sql}");
    }
}

/// The view that shows the most, the names, and the schemas that are not the one in use.
fn in_words(picture: &str) -> String {
    let views = [
        "columns", "triggers", "routines", "events", "schemata", "tables",
    ];
    let view = views
        .into_iter()
        .find(|view| picture.contains(&format!("information_schema.{view} ")));
    let (mut names, mut schema) = (Vec::new(), String::new());
    for part in picture.split("information_schema.").skip(1) {
        let literals: Vec<_> = part.split("_utf8mb4 x'").skip(1).collect();
        let literals: Vec<_> = literals
            .iter()
            .map(|text| unhex(text.split('\'').next().unwrap()))
            .collect();
        if !view.is_some_and(|view| part.starts_with(&format!("{view} "))) {
            continue;
        }
        if let [of, name] = &literals[..] {
            schema = format!(" in {of}");
            names.push(name.clone());
        } else {
            names.extend(literals);
        }
    }
    format!("{} {}{schema}", view.unwrap_or("nothing"), names.join(" "))
}

fn unhex(digits: &str) -> String {
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(pair, 16).unwrap()
    });
    String::from_utf8(bytes.collect()).unwrap()
}

#[test]
fn pictures_are_compared_only_if_they_are_drawn_in_the_same_way() {
    assert_eq!(is_unchanged("1 10.11 a b", "1 10.11 a b"), Some(true));
    assert_eq!(is_unchanged("1 10.11 a b", "1 10.11 a c"), Some(false));
    assert_eq!(is_unchanged("1 10.11 a", "1 11.4 a"), None);
    assert_eq!(is_unchanged("0 10.11 a", "1 10.11 a"), None);
    assert_eq!(is_unchanged("", "1 10.11 a"), None);
}
