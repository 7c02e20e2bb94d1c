use super::*;

#[track_caller]
fn check(dialect: Dialect, sql: &str, expected: &[&str]) {
    let found: Vec<_> = statements(sql, dialect).map(|range| &sql[range]).collect();
    assert_eq!(found, expected);
}

#[test]
fn statements_end_at_their_semicolons() {
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        check(dialect, "", &[]);
        check(dialect, " -- nothing\n/* here */ ; ;", &[]);
        check(dialect, "SELECT 1", &["SELECT 1"]);
        check(dialect, "\u{feff}SELECT 1;\r\n", &["SELECT 1"]);
        check(dialect, "a;b ; c\n", &["a", "b", "c"]);
        check(dialect, "a /* ; */ b; -- ;\nc", &["a /* ; */ b", "c"]);
        check(
            dialect,
            "SELECT ';', 'it''s;'; b",
            &["SELECT ';', 'it''s;'", "b"],
        );
        check(dialect, r#"SELECT "a;b"; b"#, &[r#"SELECT "a;b""#, "b"]);
        check(dialect, "SELECT 'open; b", &["SELECT 'open; b"]);
        check(dialect, "BEGIN; a; END; b", &["BEGIN", "a", "END", "b"]);
    }
}

#[test]
fn postgres_has_quotes_bodies_and_nested_comments_of_its_own() {
    let check = |sql: &str, expected: &[&str]| check(Dialect::Postgres, sql, expected);
    check("DO $$ a; b; $$; c", &["DO $$ a; b; $$", "c"]);
    check("DO $x$ $$ ; $$ $x$; c", &["DO $x$ $$ ; $$ $x$", "c"]);
    check("SELECT $1; b; SELECT $2", &["SELECT $1", "b", "SELECT $2"]);
    check(r"SELECT E'\';'; b", &[r"SELECT E'\';'", "b"]);
    check("/* a /* ; */ ; */ b; c", &["b", "c"]);
    check(
        "CREATE RULE r AS ON INSERT TO t DO ALSO (a; b); c",
        &["CREATE RULE r AS ON INSERT TO t DO ALSO (a; b)", "c"],
    );
    let function = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC \
                    SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
    check(&format!("{function}; c"), &[function, "c"]);
}

#[test]
fn sqlite_has_triggers_and_quotes_of_its_own() {
    let check = |sql: &str, expected: &[&str]| check(Dialect::Sqlite, sql, expected);
    check("SELECT `a;b`, [c;d]; e", &["SELECT `a;b`, [c;d]", "e"]);
    check("/* a /* ; */ b; c", &["b", "c"]);
    let trigger = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN \
                   UPDATE a SET b = CASE WHEN c THEN 1 ELSE 2 END; DELETE FROM d; END";
    check(&format!("{trigger}; e"), &[trigger, "e"]);
}

#[test]
fn mysql_has_comments_quotes_and_bodies_of_its_own() {
    let check = |sql: &str, expected: &[&str]| check(Dialect::MySql, sql, expected);
    check("a; # b;\nc --d;e -- f;\n", &["a", "c --d", "e"]);
    check(
        "SELECT 'a\\';', \"b\\\";\", `c\\`; d",
        &["SELECT 'a\\';', \"b\\\";\", `c\\`", "d"],
    );
    check(
        "/*!40101 SET a */;\n/*M! b */",
        &["/*!40101 SET a */", "/*M! b */"],
    );
    check("/* a; */ b /*!50000 c */ ;d", &["b /*!50000 c */", "d"]);
    let procedure = "CREATE PROCEDURE p() BEGIN IF a THEN b; END IF; c: LOOP d; END LOOP c; END";
    check(&format!("{procedure}; e"), &[procedure, "e"]);
    check("BEGIN; a; END; b", &["BEGIN", "a", "END", "b"]);
}

#[test]
fn it_is_said_where_the_end_is_not_certain() {
    use Dialect::{MySql, Postgres, Sqlite};
    for (dialects, sql, expected) in [
        (&[Postgres, Sqlite, MySql][..], "SELECT ';'; b -- c", true),
        (&[Postgres, Sqlite, MySql], "SELECT 'a; b", false),
        (&[Postgres, Sqlite, MySql], "SELECT \"a; b", false),
        (&[Postgres, Sqlite, MySql], "a /* b; c", false),
        (&[Postgres, Sqlite, MySql], "SELECT (1; SELECT 2", false),
        (&[Postgres, Sqlite, MySql], "SELECT 1); SELECT 2", false),
        (&[Sqlite, MySql], "SELECT `a; b", false),
        (&[Sqlite], "SELECT [a; b", false),
        (
            &[Sqlite],
            "CREATE TRIGGER a AFTER INSERT ON b BEGIN SELECT 1;",
            false,
        ),
        (&[Postgres], "SELECT $$a; b", false),
        (
            &[Postgres],
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;",
            false,
        ),
        (&[MySql], "CREATE PROCEDURE p() BEGIN SELECT 1;", false),
        // It depends on `standard_conforming_strings`.
        (&[Postgres], r"SELECT 'a\'; SELECT 'b';", false),
        (&[Postgres], r"SELECT 'a\', 'b\'; SELECT ';'", false),
        (&[Postgres], r"SELECT 'a\\b', 'c\n', E'\''; SELECT 2", true),
        (&[Postgres], r"SELECT 'a\\'; SELECT 2", true),
        // It may be told to read it in another way.
        (&[MySql], r"SELECT 'a\'; b'", true),
        (
            &[MySql],
            r"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a\'; b'",
            false,
        ),
        (
            &[MySql],
            r"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a\\'; SELECT 2",
            true,
        ),
        // Servers of another version take other statements for comments.
        (&[MySql], "/*!50000 SELECT 1 */; SELECT 2", true),
        (&[MySql], "/*!50000 SELECT 1; SELECT 2 */", false),
        (&[MySql], "/*!50000 SELECT '*/' */; SELECT 2", false),
        (&[MySql], "/*!50000 SELECT 1", false),
    ] {
        for dialect in dialects {
            assert_eq!(is_sure(sql, *dialect), expected, "{sql} {dialect:?}");
        }
    }
}

#[test]
fn any_text_is_split_in_order() {
    use crate::fuzzing::{Dialect, hold_split};
    let parts = [
        "'",
        "\"",
        "`",
        "[",
        "]",
        "$",
        "$a$",
        "$$",
        "(",
        ")",
        ";",
        "--",
        "/*",
        "*/",
        "/*!",
        "/*!50000",
        "#",
        "\\",
        "\n",
        "é",
        "E'",
        "U&'",
        "x",
        " ",
        ",",
        ".",
        ":",
        "\u{feff}",
        "CREATE ",
        "FUNCTION ",
        "PROCEDURE ",
        "TRIGGER ",
        "BEGIN ",
        "ATOMIC ",
        "END ",
        "CASE ",
        "IF ",
        "LOOP ",
        "REPEAT ",
        "UNTIL ",
        "HANDLER FOR ",
        "ROW ",
        "FOLLOWS ",
        "NOT ",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let length = random.usize(..16);
        let sql: String = (0..length).filter_map(|_| random.choice(parts)).collect();
        for dialect in Dialect::ALL {
            hold_split(&sql, dialect);
        }
    }
}
