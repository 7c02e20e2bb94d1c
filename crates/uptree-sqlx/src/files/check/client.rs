//! What only a client can run: its own commands, and data that comes after a statement.

use crate::{
    split::{Dialect, Scanner, TokenKind},
    statement::Statement,
};

/// What a client would have to do.
pub(super) struct Client {
    pub(super) at: usize,
    pub(super) reason: String,
    pub(super) remedy: &'static str,
}

/// The first of it.
pub(super) fn find(sql: &str, statements: &[Statement<'_>], dialect: Dialect) -> Option<Client> {
    let own = match dialect {
        Dialect::Postgres => statements.iter().find_map(copy),
        Dialect::MySql => statements.iter().find_map(command),
        Dialect::Sqlite => return statements.iter().find_map(dot),
    };
    let found = [own, backslash(sql, dialect)];
    found.into_iter().flatten().min_by_key(|client| client.at)
}

/// A command of psql or mysql: outside quotes a backslash is no SQL.
fn backslash(sql: &str, dialect: Dialect) -> Option<Client> {
    let token = Scanner::new(sql, dialect).find(|token| {
        // MySQL once wrote NULL so.
        let is_null = dialect == Dialect::MySql && sql[token.at..].starts_with("\\N");
        token.is_sign('\\') && !is_null
    })?;
    let at = token.at;
    let command = sql[at..].split_whitespace().next().unwrap_or_default();
    let command: String = command.chars().take(20).collect();
    let (client, remedy) = match (dialect, command.as_str()) {
        (Dialect::MySql, "\\.") => ("mysql", INCLUDE),
        (Dialect::MySql, _) => ("mysql", END),
        (_, "\\i" | "\\ir" | "\\include" | "\\include_relative") => ("psql", INCLUDE),
        (_, "\\copy" | "\\.") => ("psql", COPY),
        (_, "\\c" | "\\connect") => ("psql", CONNECT),
        (_, "\\restrict" | "\\unrestrict") => ("psql", RESTRICT),
        _ => ("psql", LEAVE_OUT),
    };
    Some(Client {
        at,
        reason: format!("`{command}` is a command of {client}, not of the server"),
        remedy,
    })
}

fn copy(statement: &Statement<'_>) -> Option<Client> {
    let mut words = Scanner::new(statement.sql, Dialect::Postgres);
    let mut before = words.next().filter(|token| token.is("copy"))?;
    let what = words.find_map(|token| {
        let before = std::mem::replace(&mut before, token);
        if before.is("from") && token.is("stdin") {
            Some("`COPY .. FROM STDIN` reads data that only a client sends")
        } else if before.is("to") && token.is("stdout") {
            Some("`COPY .. TO STDOUT` sends data that only a client takes")
        } else {
            None
        }
    })?;
    Some(Client {
        at: statement.at,
        reason: what.to_owned(),
        remedy: COPY,
    })
}

fn command(statement: &Statement<'_>) -> Option<Client> {
    let mut words =
        Scanner::new(statement.sql, Dialect::MySql).filter(|token| token.kind != TokenKind::Mark);
    let first = words.next()?;
    let of_client = |command: &str| format!("`{command}` is a command of mysql, not of the server");
    let (reason, remedy) = if first.is("delimiter") {
        (of_client("DELIMITER"), DELIMITER)
    } else if first.is("source") {
        (of_client("SOURCE"), INCLUDE)
    } else if first.is("load") && words.next()?.is("data") && words.any(|token| token.is("local")) {
        let reason = "`LOAD DATA LOCAL` reads a file that only a client sends";
        (reason.to_owned(), COPY)
    } else {
        return None;
    };
    Some(Client {
        at: statement.at,
        reason,
        remedy,
    })
}

fn dot(statement: &Statement<'_>) -> Option<Client> {
    let command = statement.sql.strip_prefix('.')?;
    let length = command.bytes().take_while(u8::is_ascii_alphabetic);
    let command = &command[..length.count()];
    let remedy = match command {
        "" => return None,
        "read" => INCLUDE,
        "import" => COPY,
        _ => LEAVE_OUT,
    };
    Some(Client {
        at: statement.at,
        reason: format!("`.{command}` is a command of sqlite3, not of SQLite"),
        remedy,
    })
}

const INCLUDE: &str = "put what the other file says in its place";
const COPY: &str = "write INSERT statements, as a dump with `--inserts` has them, or load the data \
                    from code";
const CONNECT: &str = "leave it out: a migrator has one database, and another database another";
const RESTRICT: &str = "leave it out, at the beginning and at the end: it guards psql alone";
const LEAVE_OUT: &str = "leave it out, or say the same in SQL";
const END: &str = "end the statement with a semicolon";
const DELIMITER: &str = "leave the DELIMITER lines out, and end each body with a semicolon: where \
                         a body ends is known without";
