//! Statements of SQLite. One writes at a time, and nobody queues behind who waits: no lock is strong.

use super::{
    Ddl, Kind, Object, Patient, Task, Traits, Verb, alter,
    cursor::Cursor,
    ddl::{self, object},
};

pub(super) fn classify(cursor: &mut Cursor<'_>, traits: &mut Traits) -> Kind {
    let Some(first) = cursor.word() else {
        return Kind::Dml;
    };
    match first.as_str() {
        "begin" | "commit" | "end" | "rollback" | "savepoint" | "release" => {
            Kind::Transaction(ddl::control(&first, cursor))
        }
        "pragma" => {
            let name = cursor.name();
            let name = name.map(|name| name.plain().to_ascii_lowercase());
            let name = name.unwrap_or_default();
            traits.needs_no_transaction = matches!(
                name.as_str(),
                "foreign_keys" | "journal_mode" | "synchronous" | "auto_vacuum" | "page_size"
            ) && (cursor.sees("=") || cursor.sees("("));
            Kind::Settings {
                lock_timeout: name == "busy_timeout",
            }
        }
        "create" => create(cursor),
        "alter" => {
            let mut ddl = Ddl::weak(Verb::Alter, object(cursor));
            ddl.names.extend(cursor.name());
            ddl.actions = alter::actions(cursor);
            ddl.settle_rename();
            Kind::Ddl(ddl)
        }
        "drop" => {
            let mut ddl = Ddl::weak(Verb::Drop, object(cursor));
            ddl.conditional = cursor.eat_condition();
            ddl.names.extend(cursor.name());
            Kind::Ddl(ddl)
        }
        "reindex" => {
            let mut ddl = Ddl::weak(Verb::Reindex, Object::Index);
            ddl.names.extend(cursor.name());
            Kind::Ddl(ddl)
        }
        "vacuum" => {
            traits.needs_no_transaction = true;
            Kind::Patient(Patient::new(Task::Vacuum, None))
        }
        "analyze" => Kind::Patient(Patient::new(Task::Analyze, None)),
        "attach" => Kind::Ddl(Ddl::weak(Verb::Attach, Object::Database)),
        "detach" => {
            // It is locked if it was used.
            traits.needs_no_transaction = true;
            Kind::Ddl(Ddl::weak(Verb::Detach, Object::Database))
        }
        _ => Kind::Dml,
    }
}

fn create(cursor: &mut Cursor<'_>) -> Kind {
    let mut ddl = Ddl::weak(Verb::Create, Object::Other);
    ddl.temporary = cursor.eat_any(&["temporary", "temp"]);
    ddl.unique = cursor.eat("unique");
    ddl.object = object(cursor);
    ddl.conditional = cursor.eat_condition();
    ddl.names.extend(cursor.name());
    if matches!(ddl.object, Object::Index | Object::Trigger) && cursor.seek("on") {
        ddl.table = cursor.name();
    }
    Kind::Ddl(ddl)
}
