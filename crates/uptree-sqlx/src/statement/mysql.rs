//! Statements of MySQL and MariaDB.

use super::{
    Control, Ddl, Kind, Object, Traits, Verb, alter,
    cursor::Cursor,
    ddl::{self, object},
};

pub(super) fn classify(cursor: &mut Cursor<'_>) -> (Kind, Traits) {
    let Some(first) = cursor.word() else {
        return (Kind::Dml, Traits::default());
    };
    let mut commits = true;
    let kind = match first.as_str() {
        // MariaDB's block without a routine.
        "begin" if cursor.sees("not") => Kind::Dml,
        "xa" => Kind::Transaction(Control::Prepared),
        "begin" | "start" | "commit" | "rollback" | "savepoint" | "release" => {
            let control = ddl::control(&first, cursor);
            commits = matches!(
                control,
                Control::Begin | Control::Commit | Control::Rollback
            );
            Kind::Transaction(control)
        }
        "set" => {
            commits = cursor.sees("password") || cursor.sees("autocommit");
            set(cursor)
        }
        "create" => {
            let ddl = create(cursor);
            commits = !ddl.temporary;
            Kind::Ddl(ddl)
        }
        "alter" => Kind::Ddl(alter_(cursor)),
        "drop" => {
            let ddl = drop_(cursor);
            commits = !ddl.temporary;
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
        "lock" | "unlock" => {
            cursor.eat_any(&["tables", "table"]);
            Kind::Ddl(Ddl {
                names: cursor.names(),
                ..Ddl::strong(Verb::Lock, Object::Table)
            })
        }
        "optimize" | "repair" => {
            cursor.eat_any(&["no_write_to_binlog", "local"]);
            cursor.eat_any(&["tables", "table"]);
            Kind::Ddl(Ddl {
                names: cursor.names(),
                ..Ddl::strong(Verb::Rewrite, Object::Table)
            })
        }
        "analyze" | "check" | "cache" | "flush" | "reset" | "install" | "uninstall" | "purge"
        | "change" => Kind::Ddl(Ddl::weak(Verb::Other, Object::Other)),
        "grant" => Kind::Ddl(Ddl::weak(Verb::Grant, Object::Other)),
        "revoke" => Kind::Ddl(Ddl::weak(Verb::Revoke, Object::Other)),
        "load" => {
            commits = cursor.sees("index");
            Kind::Dml
        }
        // Nobody knows what is in it.
        "call" | "execute" => Kind::Dml,
        _ => {
            commits = false;
            Kind::Dml
        }
    };
    let traits = Traits {
        commits_implicitly: commits,
        ..Traits::default()
    };
    (kind, traits)
}

fn set(cursor: &mut Cursor<'_>) -> Kind {
    if cursor.eat("transaction")
        || cursor.eat_any(&[
            "session transaction",
            "global transaction",
            "local transaction",
        ])
    {
        return Kind::Transaction(Control::Set);
    }
    let lock_timeout = |cursor: &mut Cursor<'_>| {
        cursor.has("lock_wait_timeout") || cursor.has("innodb_lock_wait_timeout")
    };
    Kind::Settings {
        lock_timeout: lock_timeout(cursor),
    }
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
        if let [action] = &*ddl.actions
            && action.verb == Verb::Rename
            && action.object == Object::Other
        {
            ddl.verb = Verb::Rename;
            ddl.to.clone_from(&action.to);
        }
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
    cursor.eat_any(&["tables", "table"]);
    let mut ddl = Ddl::strong(Verb::Rename, Object::Table);
    ddl.conditional = cursor.eat_condition();
    ddl.names.extend(cursor.name());
    if cursor.eat("to") {
        ddl.to = cursor.name();
    }
    ddl
}
