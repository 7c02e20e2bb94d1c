use super::*;
use crate::postgres::testing::files;

fn timeouts() -> Timeouts {
    Timeouts {
        hurried: "100ms".to_owned(),
        ordinary: "30s",
        patient: "0",
    }
}

/// One file in a message after ours.
fn message(file: &File, cut: Cut) -> Message<'_> {
    let mut message = Message::new();
    message.own(Own::Frame, "BEGIN");
    message.file(file, 0, &timeouts(), cut);
    if message.is_sure() {
        message.own(Own::Done, "DONE");
    }
    message
}

fn sql(text: &str, cut: Cut) -> String {
    let files = files(&[text]);
    message(&files[0], cut).sql().replace('\n', "")
}

const WAIT: &str = "SET LOCAL lock_timeout = '30s';";
const HURRY: &str = "SET LOCAL lock_timeout = '100ms';";
const FLUSHED: &str = "SELECT pg_catalog.repeat(' ', 8192);";

#[test]
fn each_statement_waits_by_its_kind_and_only_changes_are_said() {
    let text = "INSERT INTO a VALUES (1); DELETE FROM a;\nALTER TABLE a ADD b int; DROP TABLE c;\
                UPDATE a SET b = 1";
    assert_eq!(
        sql(text, Cut::ByPace),
        format!(
            "BEGIN;{WAIT}INSERT INTO a VALUES (1);DELETE FROM a;{HURRY}ALTER TABLE a ADD b int;\
             DROP TABLE c;{WAIT}UPDATE a SET b = 1;DONE;"
        )
    );
}

#[test]
fn a_file_of_one_pace_goes_as_it_is() {
    let text = "-- a\nINSERT INTO a VALUES (1);SELECT 1 -- b";
    assert_eq!(
        sql(text, Cut::ByPace),
        format!("BEGIN;{WAIT}-- aINSERT INTO a VALUES (1);SELECT 1 -- b;DONE;")
    );
    assert_eq!(sql("", Cut::ByStatement), format!("BEGIN;{WAIT};DONE;"));
}

#[test]
fn a_file_s_own_setting_is_the_last_word() {
    let text = "INSERT INTO a VALUES (1);SET lock_timeout = '5s';ALTER TABLE a ADD b int;SELECT 1";
    assert_eq!(
        sql(text, Cut::ByPace),
        format!(
            "BEGIN;{WAIT}INSERT INTO a VALUES (1);SET lock_timeout = '5s';\
             ALTER TABLE a ADD b int;SELECT 1;DONE;"
        )
    );
    // What it says of something else is not.
    let text = "SET work_mem = '1MB';ALTER TABLE a ADD b int;SELECT 1";
    let expected =
        format!("BEGIN;SET work_mem = '1MB';{HURRY}ALTER TABLE a ADD b int;{WAIT}SELECT 1;DONE;");
    assert_eq!(sql(text, Cut::ByPace), expected);
}

#[test]
fn nothing_is_put_into_a_file_that_cannot_be_told_apart_nor_after_it() {
    for text in [
        "ALTER TABLE a ADD b int; SELECT 'open",
        r"SELECT '\'; DROP TABLE a; -- '",
    ] {
        let sql = sql(text, Cut::ByStatement);
        assert!(sql.ends_with(text), "{sql}");
    }
    let text = "INSERT INTO a VALUES (1); ALTER TABLE a ADD b int;";
    assert!(sql(text, Cut::Whole).contains(text));
}

#[test]
fn the_server_is_made_to_tell_of_each_statement() {
    assert_eq!(
        sql("SELECT 1;SELECT 2;DROP TABLE a", Cut::ByStatement),
        format!("BEGIN;{WAIT}SELECT 1;{FLUSHED}SELECT 2;{FLUSHED}{HURRY}DROP TABLE a;DONE;")
    );
    assert!(!sql("SELECT 1", Cut::ByStatement).contains(FLUSHED));
    let many = "SELECT 1;".repeat(TOLD + 1);
    assert!(!sql(&many, Cut::ByStatement).contains(FLUSHED));
}

#[test]
fn set_transaction_comes_before_everything_else() {
    let text = "-- a\nSET LOCAL statement_timeout = 0;set transaction isolation level serializable;\
                SET LOCAL work_mem = '1MB';SELECT 1";
    let files = files(&[text]);
    let mut message = Message::new();
    message.own(Own::Frame, "BEGIN");
    let (sent, said) = message.opening(&files[0]);
    assert_eq!(sent, 2);
    assert!(
        said.contains("statement_timeout") && !said.contains("work_mem"),
        "{said}"
    );
    message.own(Own::Keep, "KEEP");
    message.file(&files[0], sent, &timeouts(), Cut::ByPace);
    assert_eq!(
        message.sql().replace('\n', ""),
        format!(
            "BEGIN;SET LOCAL statement_timeout = 0;set transaction isolation level serializable;\
             KEEP;SET LOCAL work_mem = '1MB';{WAIT}SELECT 1;"
        )
    );
    assert!(matches!(
        message.unit(2),
        Some(Unit::File {
            number: 2,
            total: 4,
            ..
        })
    ));
    assert!(matches!(
        message.unit(4),
        Some(Unit::File { number: 3, .. })
    ));
}

#[test]
fn only_set_transaction_is_sent_ahead() {
    for text in [
        "SELECT 1; SET TRANSACTION READ ONLY",
        "SET LOCAL work_mem = '1MB'; SELECT 1",
        "SET TRANSACTION READ ONLY; SELECT 'open",
        "",
    ] {
        let files = files(&[text]);
        let mut message = Message::new();
        assert_eq!(message.opening(&files[0]).0, 0, "{text}");
        assert_eq!(message.sql(), "");
    }
}

#[track_caller]
fn check_place(
    text: &str,
    cut: Cut,
    completed: usize,
    at: Option<&str>,
    expected: Option<(usize, Option<usize>)>,
) {
    let files = files(&[text]);
    let message = message(&files[0], cut);
    // The server counts characters.
    let position = at.map(|word| {
        let offset = message.sql().find(word).expect(word);
        message.sql()[..offset].chars().count() + 1
    });
    let (_, place) = message.place(completed, position);
    let place = place.map(|place| (place.line, place.column));
    assert_eq!(place, expected, "{text:?} {at:?}");
}

#[test]
fn a_position_in_the_message_is_one_in_the_file() {
    let text = "\u{feff}-- für später: ünïcödé\nSELECT 'é', wrong1;\n\n  DROP TABLE wrong2;";
    // BEGIN, the timeout, and the statements; cut, there is a timeout more.
    for (cut, second) in [(Cut::Whole, 3), (Cut::ByPace, 4), (Cut::ByStatement, 5)] {
        check_place(text, cut, 2, Some("wrong1"), Some((2, Some(13))));
        check_place(text, cut, second, Some("wrong2"), Some((4, Some(14))));
        // The message is read before it is run.
        check_place(text, cut, 0, Some("wrong2"), Some((4, Some(14))));
        // No position: the statement.
        check_place(text, cut, 2, None, Some((2, None)));
        check_place(text, cut, second, None, Some((4, None)));
        // Ours.
        check_place(text, cut, 0, None, None);
        check_place(text, cut, 0, Some("BEGIN"), None);
        check_place(text, cut, second + 1, None, None);
        // The server has counted otherwise.
        check_place(text, cut, 2, Some("wrong2"), None);
    }
}

#[test]
fn where_statements_cannot_be_told_apart_only_a_position_names_a_place() {
    let text = "SELECT 1;\nSELECT '\\' wrong;";
    check_place(text, Cut::ByStatement, 3, None, None);
    check_place(
        text,
        Cut::ByStatement,
        3,
        Some("wrong"),
        Some((2, Some(12))),
    );
    let files = files(&[text]);
    let message = message(&files[0], Cut::ByStatement);
    assert!(message.completions().is_none());
    assert!(message.unit(1).is_some(), "ours, before the file");
    assert!(message.unit(4).is_none(), "who knows");
}

#[test]
fn the_file_of_an_error_is_named_among_many() {
    let files = files(&["SELECT 1;", "SELECT 2;\nSELECT wrong;"]);
    let mut message = Message::new();
    for file in &files {
        message.own(Own::Entry, "ENTRY");
        message.file(file, 0, &timeouts(), Cut::ByPace);
        message.own(Own::Done, "DONE");
    }
    assert_eq!(message.completions(), Some(9));
    let (file, place) = message.place(7, None);
    assert_eq!(file.map(File::version), Some(2));
    assert_eq!(
        place,
        Some(Place {
            line: 2,
            column: None
        })
    );
}

#[test]
fn the_next_statement_of_a_file_is_told() {
    let files = files(&["SELECT 1;\nSELECT 2;"]);
    let message = message(&files[0], Cut::ByStatement);
    let next = |completed| match message.next_of_a_file(completed) {
        Some(Unit::File { number, .. }) => Some(number),
        _ => None,
    };
    let told: Vec<_> = (0..7).map(next).collect();
    let [one, two] = [Some(1), Some(2)];
    assert_eq!(told, [one, one, one, two, two, None, None]);
}
