//! Statements of Postgres.

mod schema;

use super::{
    Control, Ddl, Kind, Object, Patient, Task, Traits, Verb,
    cursor::Cursor,
    ddl::{self, object},
};

pub(super) fn classify(cursor: &mut Cursor<'_>, traits: &mut Traits) -> Kind {
    let Some(first) = cursor.word() else {
        // `(SELECT 1)`
        return Kind::Dml;
    };
    match first.as_str() {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            let control = ddl::control(&first, cursor);
            traits.needs_no_transaction = control == Control::Prepared;
            Kind::Transaction(control)
        }
        "prepare" if cursor.sees("transaction") => Kind::Transaction(Control::Prepared),
        "set" | "reset" => setting(cursor),
        "discard" => {
            traits.needs_no_transaction = cursor.sees("all");
            settings(false)
        }
        "select" => select(cursor),
        "lock" => lock(cursor),
        "truncate" => {
            cursor.eat("table");
            cursor.eat("only");
            let mut ddl = Ddl::strong(Verb::Truncate, Object::Table);
            ddl.names = cursor.names();
            Kind::Ddl(ddl)
        }
        "create" => schema::create(cursor, traits),
        "alter" => schema::alter(cursor, traits),
        "drop" => schema::drop(cursor, traits),
        "reindex" => reindex(cursor, traits),
        "cluster" => {
            cursor.skip_parentheses();
            cursor.eat("verbose");
            let mut ddl = Ddl::strong(Verb::Rewrite, Object::Table);
            ddl.names.extend(cursor.name());
            // All that were ever clustered, one after the other.
            traits.needs_no_transaction = ddl.names.is_empty();
            Kind::Ddl(ddl)
        }
        "vacuum" => {
            traits.needs_no_transaction = true;
            vacuum(cursor)
        }
        "analyze" | "analyse" => {
            cursor.skip_parentheses();
            cursor.eat("verbose");
            Kind::Patient(Patient::new(Task::Analyze, cursor.name()))
        }
        "refresh" => refresh(cursor),
        "comment" | "security" => Kind::Ddl(Ddl::weak(Verb::Comment, Object::Other)),
        "grant" => Kind::Ddl(Ddl::weak(Verb::Grant, Object::Other)),
        "revoke" => Kind::Ddl(Ddl::weak(Verb::Revoke, Object::Other)),
        "reassign" => Kind::Ddl(Ddl::strong(Verb::Alter, Object::Owned)),
        "import" => Kind::Ddl(Ddl::weak(Verb::Create, Object::Table)),
        _ => Kind::Dml,
    }
}

const fn settings(lock_timeout: bool) -> Kind {
    Kind::Settings { lock_timeout }
}

fn setting(cursor: &mut Cursor<'_>) -> Kind {
    if cursor.eat("session characteristics") {
        return Kind::Transaction(Control::Set);
    }
    cursor.eat_any(&["session", "local"]);
    if cursor.eat_any(&["transaction", "constraints"]) {
        return Kind::Transaction(Control::Set);
    }
    let name = cursor.name();
    // The server does not mind the case, also in quotes.
    settings(name.is_some_and(|name| name.plain().eq_ignore_ascii_case("lock_timeout")))
}

fn select(cursor: &mut Cursor<'_>) -> Kind {
    cursor.eat("pg_catalog .");
    if !cursor.eat("set_config (") {
        return Kind::Dml;
    }
    let mut lock_timeout = false;
    while let Some(token) = cursor.next() {
        let text = token.text.trim_matches('\'');
        lock_timeout |= text.eq_ignore_ascii_case("lock_timeout");
    }
    settings(lock_timeout)
}

fn lock(cursor: &mut Cursor<'_>) -> Kind {
    cursor.eat("table");
    cursor.eat("only");
    let mut ddl = Ddl::strong(Verb::Lock, Object::Table);
    ddl.names = cursor.names();
    let weak = cursor.eat("in")
        && cursor.eat_any(&[
            "access share",
            "row share",
            "row exclusive",
            "share update exclusive",
        ]);
    ddl.strong = !weak;
    Kind::Ddl(ddl)
}

fn reindex(cursor: &mut Cursor<'_>, traits: &mut Traits) -> Kind {
    let mut concurrently = option(cursor, "concurrently");
    let object = object(cursor);
    concurrently |= cursor.eat("concurrently");
    let name = cursor.name();
    traits.needs_no_transaction =
        concurrently || matches!(object, Object::Database | Object::System | Object::Schema);
    if concurrently {
        return Kind::Patient(Patient::new(Task::Reindex(object), name));
    }
    let mut ddl = Ddl::strong(Verb::Reindex, object);
    ddl.names.extend(name);
    Kind::Ddl(ddl)
}

/// Takes options in parentheses; whether this one is among them, and not turned off.
fn option(cursor: &mut Cursor<'_>, option: &str) -> bool {
    let mut found = false;
    if cursor.eat("(") {
        while let Some(token) = cursor.next() {
            if token.is(option) {
                found = !cursor.eat_any(&["false", "off", "0"]);
            } else if token.is_sign(')') {
                break;
            }
        }
    }
    found
}

fn vacuum(cursor: &mut Cursor<'_>) -> Kind {
    let mut full = option(cursor, "full");
    full |= cursor.eat("full");
    while cursor.eat_any(&["freeze", "verbose", "analyze", "analyse"]) {}
    let name = cursor.name();
    if full {
        let mut ddl = Ddl::strong(Verb::Rewrite, Object::Table);
        ddl.names.extend(name);
        return Kind::Ddl(ddl);
    }
    Kind::Patient(Patient::new(Task::Vacuum, name))
}

fn refresh(cursor: &mut Cursor<'_>) -> Kind {
    cursor.eat("materialized view");
    let concurrently = cursor.eat("concurrently");
    let name = cursor.name();
    if concurrently {
        return Kind::Patient(Patient::new(Task::Refresh, name));
    }
    let mut ddl = Ddl::strong(Verb::Refresh, Object::MaterializedView);
    ddl.names.extend(name);
    Kind::Ddl(ddl)
}
