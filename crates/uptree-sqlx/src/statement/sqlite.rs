//! Statements of SQLite.

use super::{
    Ddl, Kind, Object, Patient, Task, Traits, Verb, alter,
    cursor::Cursor,
    ddl::{self, object},
};

pub(super) fn classify(cursor: &mut Cursor<'_>) -> (Kind, Traits) {
    let Some(first) = cursor.word() else {
        return (Kind::Dml, Traits::default());
    };
    let mut traits = Traits::default();
    let kind = match first.as_str() {
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
            let mut ddl = Ddl::strong(Verb::Alter, object(cursor));
            ddl.names.extend(cursor.name());
            ddl.actions = alter::actions(cursor);
            if let [action] = &*ddl.actions
                && action.verb == Verb::Rename
                && action.object == Object::Other
            {
                ddl.verb = Verb::Rename;
                ddl.to.clone_from(&action.to);
            }
            Kind::Ddl(ddl)
        }
        "drop" => {
            let mut ddl = Ddl::strong(Verb::Drop, object(cursor));
            ddl.conditional = cursor.eat_condition();
            ddl.names.extend(cursor.name());
            Kind::Ddl(ddl)
        }
        "reindex" => {
            let mut ddl = Ddl::strong(Verb::Reindex, Object::Index);
            ddl.names.extend(cursor.name());
            Kind::Ddl(ddl)
        }
        "vacuum" => {
            traits.needs_no_transaction = true;
            patient(Task::Vacuum)
        }
        "analyze" => patient(Task::Analyze),
        "attach" | "detach" => {
            traits.needs_no_transaction = true;
            let verb = match first.as_str() {
                "attach" => Verb::Attach,
                _ => Verb::Detach,
            };
            Kind::Ddl(Ddl::weak(verb, Object::Database))
        }
        _ => Kind::Dml,
    };
    (kind, traits)
}

fn patient(task: Task) -> Kind {
    Kind::Patient(Patient {
        task,
        name: None,
        table: None,
        conditional: false,
        unique: false,
    })
}

fn create(cursor: &mut Cursor<'_>) -> Kind {
    let mut ddl = Ddl::strong(Verb::Create, Object::Other);
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
