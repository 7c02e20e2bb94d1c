use super::*;
use crate::{ledger::Names, statement::parse};

/// The messages for a file: `|` between them, ours in brackets.
fn messages(sql: &str, careful: bool) -> String {
    let file = File::with_sql(2, "of text", sql);
    let tables = Tables::new(&Names::new("_sqlx_migrations", None), Some("x"));
    let script = Script::new(&file, parse(file.sql(), Dialect::MySql), careful);
    let mut words = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        let part = script.part(at, &tables, ledger::Tables::All);
        words.extend(part.message.sql().split("\n;\n").filter_map(in_words));
        from = part.next;
        words.extend(from.map(|_| "|".to_owned()));
    }
    words.join(" ")
}

fn in_words(sql: &str) -> Option<String> {
    let done = || sql.split("steps_done = ").nth(1)?.split(',').next();
    Some(if sql.starts_with("INSERT INTO `x`") {
        "[enter]".to_owned()
    } else if sql.starts_with("INSERT IGNORE") || sql.starts_with("DELETE FROM `x`") {
        return None;
    } else if sql.contains("success = TRUE") {
        "[finish]".to_owned()
    } else if let Some(done) = done() {
        let begun = if sql.contains("step_begun = true") {
            " begun"
        } else {
            ""
        };
        format!("[{done}{begun}]")
    } else if sql.starts_with("SET SESSION autocommit") {
        return None;
    } else if let Some(limit) = sql.strip_prefix("SET SESSION lock_wait_timeout = ") {
        format!("[{} s]", limit.split(',').next()?)
    } else if sql == "COMMIT" {
        "[commit]".to_owned()
    } else {
        sql.split(' ').next()?.to_lowercase()
    })
}

#[test]
fn rows_alone_are_one_transaction() {
    for sql in [
        "",
        "INSERT 1",
        "SET @a = 1; INSERT 1; UPDATE a; SELECT 1",
        "INSERT 1 -- end",
    ] {
        let found = messages(sql, false);
        assert!(found.starts_with("[enter]"), "{found}");
        assert!(found.ends_with("[finish] [commit]"), "{found}");
        assert!(!found.contains("begun") && !found.contains('|'), "{found}");
    }
}

#[test]
fn a_statement_that_commits_has_a_mark_before_it_and_one_after() {
    for (sql, expected) in [
        (
            "DROP TABLE a",
            "[enter] [0 begun] drop [1] [finish] [commit]",
        ),
        (
            "DROP TABLE a; DROP TABLE b",
            "[enter] [0 begun] drop [1 begun] drop [2] [finish] [commit]",
        ),
        (
            "INSERT 1; INSERT 2; DROP TABLE a; INSERT 3",
            "[enter] [30 s] insert insert [2 begun] [commit] [1 s] drop [3] [commit] [30 s] insert \
             [4] [finish] [commit]",
        ),
        // It may commit or not: its mark is committed only if it does.
        (
            "INSERT 1; CALL p(); DROP TABLE a",
            "[enter] [30 s] insert [1] [commit] [1 begun] call | [2 begun] [commit] drop [3] \
             [finish] [commit]",
        ),
        // Its answers cannot be counted.
        (
            "CALL p()",
            "[enter] [0 begun] [30 s] call | [1] [finish] [commit]",
        ),
        // The file's own limit holds from there on.
        (
            "INSERT 1; SET lock_wait_timeout = 5; DROP TABLE a; INSERT 2",
            "[enter] [30 s] insert set [2 begun] [commit] drop [3] [commit] insert [4] [finish] \
             [commit]",
        ),
        // What an older server skips leaves nothing for a semicolon to end.
        (
            "/*!80000 SET @a = 1 */; INSERT 1",
            "[enter] /*!80000 | [30 s] insert [finish] [commit]",
        ),
        // It cannot be told where a statement ends.
        (
            "DROP TABLE a; INSERT 'open",
            "[enter] [0 begun] drop | [2] [finish] [commit]",
        ),
    ] {
        assert_eq!(messages(sql, false), expected, "{sql}");
    }
    // Some tables keep rows that others roll back.
    assert_eq!(
        messages("INSERT 1; SELECT 1; INSERT 2", true),
        "[enter] [0 begun] [commit] [30 s] insert [1] [commit] select [2] [commit] [2 begun] \
         [commit] insert [3] [finish] [commit]"
    );
}

#[test]
fn a_file_goes_on_where_it_is_committed_up_to() {
    let sql = "INSERT 1; INSERT 2; DROP TABLE a; DROP TABLE b; INSERT 3; CALL p(); INSERT 4";
    let file = File::with_sql(2, "of text", sql);
    let script = Script::new(&file, parse(file.sql(), Dialect::MySql), false);
    let found: Vec<_> = (0..=7).map(|next| script.resume(next)).collect();
    // Of what is in a transaction, nothing; of a routine, nobody knows.
    assert_eq!(found, [0, 0, 0, 3, 4, 4, 5, 6]);
}

#[test]
fn a_message_has_a_limit() {
    let rows = format!("INSERT {};", "x".repeat(100_000)).repeat(20);
    let found = messages(&rows, false);
    assert_eq!(found.matches('|').count(), 3, "{found}");
    assert_eq!(found.matches("insert").count(), 20);
}
