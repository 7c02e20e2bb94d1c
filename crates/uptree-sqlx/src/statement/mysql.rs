//! Statements of MySQL and MariaDB.

use super::{
    Control, Ddl, Kind, Object, Patient, Task, Traits, Verb, alter,
    cursor::Cursor,
    ddl::{self, object},
};

pub(super) fn classify(cursor: &mut Cursor<'_>, traits: &mut Traits) -> Kind {
    let Some(first) = cursor.word() else {
        return Kind::Dml;
    };
    let commits = &mut traits.commits_implicitly;
    *commits = true;
    match first.as_str() {
        // MariaDB's block without a routine.
        "begin" if cursor.sees("not") => Kind::Dml,
        "xa" => Kind::Transaction(Control::Prepared),
        // A replica, perhaps.
        "start" if !cursor.sees("transaction") => other(),
        "begin" | "start" | "commit" | "rollback" | "savepoint" | "release" => {
            let control = ddl::control(&first, cursor);
            *commits = matches!(
                control,
                Control::Begin | Control::Commit | Control::Rollback
            );
            Kind::Transaction(control)
        }
        "set" => set(cursor, commits),
        "use" => {
            *commits = false;
            Kind::Settings {
                lock_timeout: false,
            }
        }
        "create" => {
            let ddl = create(cursor);
            *commits = !ddl.temporary;
            Kind::Ddl(ddl)
        }
        "alter" => Kind::Ddl(alter_(cursor)),
        "drop" if cursor.sees("prepare") => {
            *commits = false;
            Kind::Dml
        }
        "drop" => {
            let ddl = drop_(cursor);
            *commits = !ddl.temporary;
            Kind::Ddl(ddl)
        }
        "rename" => Kind::Ddl(rename(cursor)),
        "truncate" => {
            cursor.eat("table");
            Kind::Ddl(Ddl {
                names: cursor.names(),
                ..Ddl::strong(Verb::Truncate, Object::Table)
            })
        }
        "lock" => Kind::Ddl(Ddl::strong(Verb::Lock, Object::Table)),
        "unlock" => Kind::Ddl(Ddl::weak(Verb::Lock, Object::Table)),
        "optimize" | "repair" => {
            cursor.eat_any(&["no_write_to_binlog", "local"]);
            cursor.eat_any(&["tables", "table"]);
            Kind::Ddl(Ddl {
                names: cursor.names(),
                ..Ddl::strong(Verb::Rewrite, Object::Table)
            })
        }
        "analyze" => {
            cursor.eat_any(&["no_write_to_binlog", "local"]);
            // MariaDB explains a statement so.
            *commits = cursor.eat_any(&["tables", "table"]);
            match *commits {
                true => Kind::Patient(Patient::new(Task::Analyze, cursor.name())),
                false => Kind::Dml,
            }
        }
        "check" | "cache" | "flush" | "reset" | "install" | "uninstall" | "purge" | "change"
        | "stop" => other(),
        "grant" => Kind::Ddl(Ddl::weak(Verb::Grant, Object::Other)),
        "revoke" => Kind::Ddl(Ddl::weak(Verb::Revoke, Object::Other)),
        "load" => {
            *commits = cursor.sees("index");
            Kind::Dml
        }
        // Nobody knows what is in it.
        "call" | "execute" => Kind::Dml,
        _ => {
            *commits = false;
            Kind::Dml
        }
    }
}

fn other() -> Kind {
    Kind::Ddl(Ddl::weak(Verb::Other, Object::Other))
}

fn set(cursor: &mut Cursor<'_>, commits: &mut bool) -> Kind {
    *commits = cursor.sees("password");
    let scopes = ["session", "local", "global"];
    let is_global = cursor.sees("global");
    cursor.eat_any(&scopes);
    if cursor.sees("transaction") {
        return Kind::Transaction(Control::Set);
    }
    let mut lock_timeout = false;
    while let Some(token) = cursor.next() {
        *commits |= token.is("autocommit");
        lock_timeout |= token.is("lock_wait_timeout") || token.is("innodb_lock_wait_timeout");
    }
    // That is for others.
    lock_timeout &= !is_global;
    Kind::Settings { lock_timeout }
}

fn create(cursor: &mut Cursor<'_>) -> Ddl {
    let mut ddl = Ddl::weak(Verb::Create, Object::Other);
    ddl.replaces = cursor.eat("or replace");
    ddl.temporary = cursor.eat("temporary");
    if cursor.eat("algorithm =") {
        cursor.word();
    }
    if cursor.eat("definer =") {
        cursor.name();
        if cursor.eat("@") {
            cursor.name();
        }
        cursor.skip_parentheses();
    }
    if cursor.eat("sql security") {
        cursor.word();
    }
    ddl.unique = cursor.eat("unique");
    cursor.eat_any(&["fulltext", "spatial", "aggregate", "online", "offline"]);
    ddl.object = object(cursor);
    ddl.conditional = cursor.eat_condition();
    ddl.names.extend(cursor.name());
    match ddl.object {
        Object::Index | Object::Trigger => {
            ddl.strong = true;
            if cursor.seek("on") {
                ddl.table = cursor.name();
            }
        }
        Object::View => ddl.strong = ddl.replaces,
        Object::Table => ddl.strong = ddl.replaces || cursor.has("references"),
        _ => {}
    }
    ddl
}

fn alter_(cursor: &mut Cursor<'_>) -> Ddl {
    cursor.eat_any(&["online", "ignore", "offline"]);
    let mut ddl = Ddl::strong(Verb::Alter, object(cursor));
    ddl.conditional = cursor.eat_condition();
    ddl.names.extend(cursor.name());
    ddl.strong = matches!(ddl.object, Object::Table | Object::View | Object::Sequence);
    if ddl.object == Object::Table {
        ddl.actions = alter::actions(cursor);
        ddl.settle_rename();
    }
    ddl
}

fn drop_(cursor: &mut Cursor<'_>) -> Ddl {
    let temporary = cursor.eat("temporary");
    let mut ddl = Ddl::weak(Verb::Drop, object(cursor));
    ddl.temporary = temporary;
    ddl.conditional = cursor.eat_condition();
    ddl.names = cursor.names();
    ddl.strong = matches!(
        ddl.object,
        Object::Table
            | Object::Index
            | Object::View
            | Object::Trigger
            | Object::Schema
            | Object::Database
            | Object::Sequence
    );
    if ddl.object == Object::Index && cursor.eat("on") {
        ddl.table = cursor.name();
    }
    ddl
}

fn rename(cursor: &mut Cursor<'_>) -> Ddl {
    if !cursor.eat_any(&["tables", "table"]) {
        return Ddl::weak(Verb::Rename, Object::Role);
    }
    let mut ddl = Ddl::strong(Verb::Rename, Object::Table);
    ddl.conditional = cursor.eat_condition();
    ddl.actions = alter::renames(cursor);
    let names = ddl.actions.iter().filter_map(|action| action.name.clone());
    ddl.names = names.collect();
    if let [action] = &*ddl.actions {
        ddl.to.clone_from(&action.to);
    }
    ddl
}
