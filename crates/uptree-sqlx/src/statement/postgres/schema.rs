//! `CREATE`, `ALTER` and `DROP`, and which lock each takes.

use super::super::{
    Action, ActionLock, Ddl, Kind, Object, Patient, Task, Traits, Verb, alter, cursor::Cursor,
    ddl::object,
};

pub(super) fn create(cursor: &mut Cursor<'_>, traits: &mut Traits) -> Kind {
    let mut ddl = Ddl::weak(Verb::Create, Object::Other);
    ddl.replaces = cursor.eat("or replace");
    ddl.unique = cursor.eat("unique");
    loop {
        if cursor.eat_any(&["temporary", "temp"]) {
            ddl.temporary = true;
        } else if !cursor.eat_any(&[
            "global",
            "local",
            "unlogged",
            "recursive",
            "trusted",
            "procedural",
            "default",
            "constraint",
        ]) {
            break;
        }
    }
    ddl.object = object(cursor);
    if ddl.object == Object::Index {
        return create_index(cursor, ddl, traits);
    }
    ddl.conditional = cursor.eat_condition();
    ddl.names.extend(cursor.name());
    match ddl.object {
        // The table that it becomes a part of, or that it refers to.
        Object::Table => ddl.strong = cursor.sees("partition of") || cursor.has("references"),
        Object::View => ddl.strong = ddl.replaces,
        Object::Trigger | Object::Rule | Object::Policy => {
            ddl.strong = true;
            let is_rule = ddl.object == Object::Rule;
            if cursor.seek(if is_rule { "to" } else { "on" }) {
                ddl.table = cursor.name();
            }
        }
        Object::Database | Object::Tablespace | Object::Subscription => {
            traits.needs_no_transaction = true;
        }
        _ => {}
    }
    Kind::Ddl(ddl)
}

fn create_index(cursor: &mut Cursor<'_>, mut ddl: Ddl, traits: &mut Traits) -> Kind {
    let concurrently = cursor.eat("concurrently");
    ddl.conditional = cursor.eat_condition();
    if !cursor.sees("on") {
        ddl.names.extend(cursor.name());
    }
    if cursor.eat("on") {
        cursor.eat("only");
        ddl.table = cursor.name();
    }
    if concurrently {
        traits.needs_no_transaction = true;
        return Kind::Patient(Patient {
            table: ddl.table,
            conditional: ddl.conditional,
            unique: ddl.unique,
            ..Patient::new(Task::CreateIndex, ddl.names.pop())
        });
    }
    // It keeps out all who write.
    ddl.strong = true;
    Kind::Ddl(ddl)
}

pub(super) fn alter(cursor: &mut Cursor<'_>, traits: &mut Traits) -> Kind {
    if cursor.eat("default privileges") {
        return Kind::Ddl(Ddl::weak(Verb::Alter, Object::Other));
    }
    let mut ddl = Ddl::weak(Verb::Alter, object(cursor));
    if ddl.object == Object::System {
        traits.needs_no_transaction = true;
        return Kind::Ddl(ddl);
    }
    if cursor.eat("all in tablespace") {
        ddl.strong = true;
        return Kind::Ddl(ddl);
    }
    ddl.conditional = cursor.eat_condition();
    cursor.eat("only");
    ddl.names.extend(cursor.name());
    cursor.eat("*");
    // What a routine takes.
    cursor.skip_parentheses();
    match ddl.object {
        Object::Table | Object::View | Object::MaterializedView | Object::Index => {
            return alter_table(cursor, ddl, traits);
        }
        Object::Sequence | Object::Domain | Object::Extension => ddl.strong = true,
        Object::Trigger | Object::Rule | Object::Policy => {
            ddl.strong = true;
            if cursor.eat("on") {
                ddl.table = cursor.name();
            }
        }
        Object::Type => {
            // Only servers before 12 refuse it.
            traits.needs_no_transaction = cursor.sees("add value");
            // The tables of a composite type.
            let attributes = ["add attribute", "drop attribute", "alter attribute"];
            ddl.strong = attributes.iter().any(|words| cursor.sees(words));
        }
        Object::Database => traits.needs_no_transaction = cursor.sees("set tablespace"),
        Object::Subscription => traits.needs_no_transaction = cursor.has("publication"),
        _ => {}
    }
    if cursor.sees("rename to") {
        ddl.actions = alter::actions(cursor);
        ddl.settle_rename();
    }
    Kind::Ddl(ddl)
}

fn alter_table(cursor: &mut Cursor<'_>, mut ddl: Ddl, traits: &mut Traits) -> Kind {
    ddl.actions = alter::actions(cursor);
    let all = |is: fn(&Action) -> bool| !ddl.actions.is_empty() && ddl.actions.iter().all(is);
    let task = if all(|action| action.verb == Verb::Validate) {
        Some(Task::Validate)
    } else if all(|action| action.verb == Verb::Detach && action.lock != ActionLock::Strong) {
        traits.needs_no_transaction = all(|action| action.lock == ActionLock::Concurrently);
        Some(Task::Detach)
    } else {
        None
    };
    if let Some(task) = task {
        return Kind::Patient(Patient {
            table: match task {
                Task::Detach => ddl.actions.pop().and_then(|action| action.name),
                _ => None,
            },
            conditional: ddl.conditional,
            ..Patient::new(task, ddl.names.pop())
        });
    }
    let is_weak = |action: &Action| match action.verb {
        Verb::Validate => true,
        Verb::Rename => ddl.object == Object::Index,
        _ => action.lock == ActionLock::Weak,
    };
    ddl.strong = !ddl.actions.iter().all(is_weak);
    ddl.settle_rename();
    Kind::Ddl(ddl)
}

pub(super) fn drop(cursor: &mut Cursor<'_>, traits: &mut Traits) -> Kind {
    let mut ddl = Ddl::weak(Verb::Drop, object(cursor));
    let concurrently = ddl.object == Object::Index && cursor.eat("concurrently");
    ddl.conditional = cursor.eat_condition();
    ddl.names = cursor.names();
    if concurrently {
        traits.needs_no_transaction = true;
        return Kind::Patient(Patient {
            conditional: ddl.conditional,
            ..Patient::new(Task::DropIndex, ddl.names.pop())
        });
    }
    match ddl.object {
        Object::Table
        | Object::Index
        | Object::View
        | Object::MaterializedView
        | Object::Sequence
        | Object::Extension
        | Object::Owned => ddl.strong = true,
        Object::Trigger | Object::Rule | Object::Policy => {
            ddl.strong = true;
            if cursor.eat("on") {
                ddl.table = cursor.name();
            }
        }
        Object::Database | Object::Tablespace | Object::Subscription => {
            traits.needs_no_transaction = true;
        }
        // All that is in it, or that depends on it.
        _ => ddl.strong = cursor.has("cascade"),
    }
    Kind::Ddl(ddl)
}
