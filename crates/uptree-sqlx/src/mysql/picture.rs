//! How it is found out, after a crash, whether a statement was done.
//!
//! A statement that changes the schema commits by itself, so that it cannot be entered in the same
//! transaction. What it touches is pictured before it: if the picture is the same afterwards, it
//! was not done. One such statement is done whole or not at all, on MySQL 8 and MariaDB 10.6 and
//! later.
//!
//! The server takes the picture, in the statement that stores it, and not this program by
//! `SHOW CREATE`: that costs no round trip. What only one of the servers has stands in a comment
//! that only that one reads: `/*!80013 … */` is MySQL's, `/*M!100600 … */` MariaDB's.

use std::collections::HashMap;

use super::{kind::within, sql::text};
use crate::{
    split::{Dialect, Scanner},
    statement::{Action, Ddl, Kind, Name, Object, Statement, Verb},
};

/// What there is to do about a statement that was begun and perhaps done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// To do it again comes to the same as to have done it once.
    Repeat,
    /// If this expression's value is what it was before, it was not done.
    Compare(String),
    /// Only a person can know.
    Ask,
}

impl Recovery {
    /// What is to be stored before the statement, as an expression.
    pub(super) fn picture(&self) -> &str {
        match self {
            Self::Compare(picture) => picture,
            Self::Repeat | Self::Ask => "''",
        }
    }
}

/// What is to be done about `statement`, which commits by itself.
pub(super) fn recovery(statement: &Statement<'_>) -> Recovery {
    if let Some(statement) = within(statement) {
        return recovery(&statement);
    }
    match &statement.kind {
        Kind::Ddl(ddl) => of_ddl(ddl, statement.sql),
        // SET PASSWORD, SET autocommit; ANALYZE TABLE.
        Kind::Settings { .. } | Kind::Patient(_) => Recovery::Repeat,
        // A routine, a prepared statement.
        _ => Recovery::Ask,
    }
}

fn of_ddl(ddl: &Ddl, sql: &str) -> Recovery {
    let names = &ddl.names;
    match (ddl.verb, ddl.object) {
        (Verb::Create, _) if ddl.replaces || ddl.conditional => Recovery::Repeat,
        (Verb::Drop, _) if ddl.conditional => Recovery::Repeat,
        (Verb::Create | Verb::Drop, object) => match object {
            Object::Table | Object::View | Object::Sequence => compare(names, relation),
            Object::Index => compare(&ddl.table, table),
            Object::Routine => compare(names, routine),
            Object::Trigger if ddl.table.is_some() => compare(&ddl.table, triggers),
            Object::Trigger => compare(names, trigger),
            Object::Event => compare(names, event),
            Object::Database | Object::Schema => compare(names, database),
            _ => Recovery::Ask,
        },
        // They swap rows, which no picture shows.
        (Verb::Alter, Object::Table) if has_word(sql, &["exchange", "discard", "import"]) => {
            Recovery::Ask
        }
        (Verb::Rename, Object::Table) if is_ring(&ddl.actions) => Recovery::Ask,
        (Verb::Alter | Verb::Rename, Object::Table) => {
            let new = ddl.actions.iter().filter(|action| is_of_table(action));
            let new = new.filter_map(|action| action.to.as_ref());
            // A renaming alone has no actions.
            let whole = ddl.to.iter().filter(|_| ddl.actions.is_empty());
            compare(names.iter().chain(new).chain(whole), table)
        }
        // It may be given another name; for the rest, it can be repeated.
        (Verb::Alter, Object::Event) => compare(names, event),
        (Verb::Alter, Object::View | Object::Routine | Object::Sequence) => Recovery::Repeat,
        (Verb::Alter, Object::Database | Object::Schema) => Recovery::Repeat,
        (Verb::Truncate | Verb::Lock | Verb::Rewrite | Verb::Grant, _) => Recovery::Repeat,
        (Verb::Other, _) if !has_word(sql, &["install", "uninstall"]) => Recovery::Repeat,
        _ => Recovery::Ask,
    }
}

/// Whether it is the table that is given another name, not a part of it.
fn is_of_table(action: &Action) -> bool {
    action.verb == Verb::Rename && matches!(action.object, Object::Table | Object::Other)
}

/// Whether there are tables of the same names after these renamings as before: which of them is
/// which is then all that changes.
fn is_ring(renamings: &[Action]) -> bool {
    let mut before: HashMap<&str, bool> = HashMap::new();
    let mut after = HashMap::new();
    for renaming in renamings {
        for (name, exists) in [(&renaming.name, true), (&renaming.to, false)] {
            let Some(name) = name.as_ref().map(Name::plain) else {
                continue;
            };
            before.entry(name).or_insert(exists);
            after.insert(name, !exists);
        }
    }
    !before.is_empty() && before == after
}

fn has_word(sql: &str, words: &[&str]) -> bool {
    Scanner::new(sql, Dialect::MySql).any(|token| words.iter().any(|word| token.is(word)))
}

fn compare<'a>(
    names: impl IntoIterator<Item = &'a Name>,
    picture: fn(&str, &str) -> String,
) -> Recovery {
    let pictures = names.into_iter().map(|name| {
        let schema = name.schema().map_or("DATABASE()".to_owned(), text);
        picture(&schema, &text(name.plain()))
    });
    let pictures: Vec<_> = pictures.collect();
    if pictures.is_empty() {
        return Recovery::Ask;
    }
    // Another version of the server, or of this program, may draw another picture of the same.
    Recovery::Compare(format!(
        "CONCAT_WS(' ', '1', VERSION(), {})",
        pictures.join(", ")
    ))
}

/// Whether a picture shows that nothing was done, given the one from before; `None` if these two
/// cannot be compared.
pub(super) fn is_unchanged(before: &str, now: &str) -> Option<bool> {
    let drawn_by = |picture: &'_ str| {
        let mut parts = picture.splitn(3, ' ').map(str::to_owned);
        (parts.next(), parts.next())
    };
    (drawn_by(before) == drawn_by(now)).then_some(before == now)
}

/// Whether there is a table or view.
fn relation(schema: &str, name: &str) -> String {
    count("tables", "table_schema", schema, "table_name", name)
}

fn routine(schema: &str, name: &str) -> String {
    count("routines", "routine_schema", schema, "routine_name", name)
}

/// MariaDB looks through all the tables of the schema, or of all schemas if it is not that of the
/// tables that is named.
fn trigger(schema: &str, name: &str) -> String {
    count(
        "triggers",
        "event_object_schema",
        schema,
        "trigger_name",
        name,
    )
}

/// The triggers of a table.
fn triggers(schema: &str, table: &str) -> String {
    part(
        "triggers",
        "trigger_name",
        &format!("event_object_schema = {schema} AND event_object_table = {table}"),
    )
}

fn event(schema: &str, name: &str) -> String {
    count("events", "event_schema", schema, "event_name", name)
}

/// A database has no schema: its name is in one part.
fn database(_: &str, name: &str) -> String {
    format!("(SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = {name})")
}

fn count(view: &str, schema_column: &str, schema: &str, name_column: &str, name: &str) -> String {
    format!(
        "(SELECT COUNT(*) FROM information_schema.{view} \
         WHERE {schema_column} = {schema} AND {name_column} = {name})"
    )
}

/// All that can be changed of a table, but the next number of its rows.
fn table(schema: &str, name: &str) -> String {
    let of = format!("table_schema = {schema} AND table_name = {name}");
    let constraints = format!("constraint_schema = {schema} AND table_name = {name}");
    let parts = [
        part(
            "tables",
            "engine, table_collation, row_format, create_options, table_comment",
            &of,
        ),
        part(
            "columns",
            "column_name, ordinal_position, column_default, is_nullable, column_type, \
             collation_name, extra, column_comment, generation_expression",
            &of,
        ),
        part(
            "statistics",
            "index_name, seq_in_index, column_name, non_unique, collation, sub_part, index_type, \
             index_comment /*!80013 , is_visible, expression */ /*M!100600 , ignored */",
            &of,
        ),
        part(
            "table_constraints",
            "constraint_name, constraint_type /*!80016 , enforced */",
            &of,
        ),
        part(
            "key_column_usage",
            "constraint_name, ordinal_position, column_name, referenced_table_schema, \
             referenced_table_name, referenced_column_name",
            &of,
        ),
        part(
            "referential_constraints",
            "constraint_name, update_rule, delete_rule",
            &constraints,
        ),
        part(
            "partitions",
            "partition_name, subpartition_name, partition_ordinal_position, \
             subpartition_ordinal_position, partition_method, subpartition_method, \
             partition_expression, subpartition_expression, partition_description, \
             partition_comment",
            &of,
        ),
    ];
    let checks = format!(
        "/*M!100300 , {} */ /*!80016 , (SELECT {} FROM information_schema.check_constraints \
         JOIN information_schema.table_constraints USING (constraint_schema, constraint_name) \
         WHERE {of}) */",
        part(
            "check_constraints",
            "constraint_name, check_clause",
            &constraints
        ),
        sum("constraint_name, check_clause"),
    );
    format!("CONCAT_WS(',', {}{checks})", parts.join(", "))
}

fn part(view: &str, columns: &str, condition: &str) -> String {
    let sum = sum(columns);
    format!("(SELECT {sum} FROM information_schema.{view} WHERE {condition})")
}

/// Rows as one value, in whatever order they come.
fn sum(columns: &str) -> String {
    // NULL is something else than nothing.
    let columns = columns.replace(", ", "), QUOTE(");
    format!("CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS(',', QUOTE({columns})))), 0))")
}

#[cfg(test)]
mod tests;
