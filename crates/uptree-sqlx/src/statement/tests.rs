mod mysql;
mod postgres;
mod sqlite;

use super::*;

#[test]
fn statements_are_known_by_their_words() {
    for (dialect, statements) in [
        (Dialect::Postgres, postgres::STATEMENTS),
        (Dialect::Sqlite, sqlite::STATEMENTS),
        (Dialect::MySql, mysql::STATEMENTS),
    ] {
        for (sql, expected) in statements {
            assert_eq!(show(sql, dialect), *expected, "{sql}");
        }
    }
}

#[test]
fn names_are_as_the_server_has_them() {
    let long = "x".repeat(70);
    let long_quoted = format!("\"{}ä\"", "x".repeat(62));
    for (dialect, written, schema, plain) in [
        (Dialect::Postgres, "Abc", None, "abc"),
        (Dialect::Postgres, "ÄB", None, "Äb"),
        (Dialect::Postgres, "\"Abc\"", None, "Abc"),
        (Dialect::Postgres, "S.\"a.b\"", Some("s"), "a.b"),
        (Dialect::Postgres, "\"a\"\"b\" . c", Some("a\"b"), "c"),
        (Dialect::Postgres, "d.s.t", Some("s"), "t"),
        (Dialect::Postgres, "U&\"d\\0061t\\+000061\"", None, "data"),
        (Dialect::Postgres, "u&\"a\\\\b\\00\"", None, "a\\b\\00"),
        (Dialect::Postgres, &long, None, &long[..63]),
        // It is not cut within a character.
        (Dialect::Postgres, &long_quoted, None, &long[..62]),
        (Dialect::Sqlite, "Abc", None, "Abc"),
        (Dialect::Sqlite, "[a]]b]", None, "a"),
        (Dialect::Sqlite, "main.'a''b'", Some("main"), "a'b"),
        (Dialect::MySql, "`A``b`.`c`", Some("A`b"), "c"),
        (Dialect::MySql, "Abc", None, "Abc"),
    ] {
        let sql = format!("DROP TABLE {written}");
        let statements = parse(&sql, dialect);
        let Kind::Ddl(ddl) = &statements[0].kind else {
            panic!("{sql}");
        };
        let name = ddl.name().unwrap();
        assert_eq!((name.schema(), name.plain()), (schema, plain), "{sql}");
        if !written.contains("]]") {
            assert_eq!(name.written, written);
        }
    }
}

#[test]
fn statements_say_where_they_begin() {
    let sql = "-- a\nSELECT 1;\n\n  CREATE TABLE a (b int) -- c\n;";
    let statements = parse(sql, Dialect::Postgres);
    let found: Vec<_> = statements.iter().map(|it| (it.at, it.sql)).collect();
    assert_eq!(found, [(5, "SELECT 1"), (18, "CREATE TABLE a (b int)")]);
    assert!(matches!(statements[1].kind, Kind::Ddl(_)));
    assert!(!statements[1].adds_enum_value());
    assert!(parse("ALTER TYPE a ADD VALUE 'b'", Dialect::Postgres)[0].adds_enum_value());
}

/// A statement's kind in a few words: what is told of it, then how long it waits, and `outside` or
/// `commits`.
fn show(sql: &str, dialect: Dialect) -> String {
    let statements = parse(sql, dialect);
    let [statement] = &*statements else {
        panic!("{sql}: {statements:?}");
    };
    let mut words = match &statement.kind {
        Kind::Ddl(ddl) => show_ddl(ddl),
        Kind::Dml => vec!["dml".to_owned()],
        Kind::Patient(patient) => {
            let mut words = vec![lower(patient.task)];
            words.extend(patient.unique.then(|| "unique".to_owned()));
            words.extend(patient.conditional.then(|| "if".to_owned()));
            words.extend(patient.name.as_ref().map(show_name));
            let table = patient.table.as_ref();
            words.extend(table.map(|table| format!("on {}", show_name(table))));
            words
        }
        Kind::Settings { lock_timeout: true } => vec!["lock timeout".to_owned()],
        Kind::Settings { .. } => vec!["settings".to_owned()],
        Kind::Transaction(control) => vec![lower(control)],
    };
    if let Kind::Ddl(_) = statement.kind {
        words.push(format!("/ {}", lower(statement.pace())));
    }
    words.extend(
        statement
            .needs_no_transaction()
            .then(|| "outside".to_owned()),
    );
    words.extend(statement.commits_implicitly().then(|| "commits".to_owned()));
    words.join(" ")
}

fn show_ddl(ddl: &Ddl) -> Vec<String> {
    let mut words = vec![lower(ddl.verb), lower(ddl.object)];
    for (flag, word) in [
        (ddl.replaces, "or replace"),
        (ddl.temporary, "temporary"),
        (ddl.unique, "unique"),
        (ddl.conditional, "if"),
    ] {
        words.extend(flag.then(|| word.to_owned()));
    }
    let names: Vec<_> = ddl.names.iter().map(show_name).collect();
    words.extend(Some(names.join(",")).filter(|names| !names.is_empty()));
    words.extend(
        ddl.table
            .as_ref()
            .map(|table| format!("on {}", show_name(table))),
    );
    words.extend(ddl.to.as_ref().map(|to| format!("to {}", show_name(to))));
    words.extend(ddl.actions.iter().map(show_action));
    words
}

fn show_action(action: &Action) -> String {
    let mut words = vec![lower(action.verb), lower(action.object)];
    words.extend(action.conditional.then(|| "if".to_owned()));
    words.extend(action.name.as_ref().map(show_name));
    words.extend(action.to.as_ref().map(|to| format!("to {}", show_name(to))));
    format!("[{}]", words.join(" "))
}

fn show_name(name: &Name) -> String {
    match name.schema() {
        Some(schema) => format!("{schema}.{}", name.plain()),
        None => name.plain().to_owned(),
    }
}

fn lower(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_ascii_lowercase()
}
