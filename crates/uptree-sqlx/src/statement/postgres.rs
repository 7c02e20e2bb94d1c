//! Statements of Postgres.

use super::{
    Action, Control, Ddl, Kind, Object, Patient, Task, Traits, Verb, alter,
    cursor::Cursor,
    ddl::{self, object},
};

pub(super) fn classify(cursor: &mut Cursor<'_>) -> (Kind, Traits) {
    let kind_of = |kind: Kind| (kind, Traits::default());
    let outside = |kind: Kind| {
        let traits = Traits {
            needs_no_transaction: true,
            ..Traits::default()
        };
        (kind, traits)
    };
    let Some(first) = cursor.word() else {
        // `(SELECT 1)`
        return kind_of(Kind::Dml);
    };
    match first.as_str() {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            let control = ddl::control(&first, cursor);
            match control {
                Control::Prepared => outside(Kind::Transaction(control)),
                control => kind_of(Kind::Transaction(control)),
            }
        }
        "prepare" if cursor.sees("transaction") => kind_of(Kind::Transaction(Control::Prepared)),
        "set" | "reset" => kind_of(setting(cursor)),
        "discard" if cursor.sees("all") => outside(settings(false)),
        "discard" => kind_of(settings(false)),
        "select" => kind_of(select(cursor)),
        "lock" => kind_of(lock(cursor)),
        "truncate" => {
            cursor.eat("table");
            cursor.eat("only");
            let names = cursor.names();
            kind_of(Kind::Ddl(Ddl {
                names,
                ..Ddl::strong(Verb::Truncate, Object::Table)
            }))
        }
        "create" => create(cursor),
        "alter" => alter_(cursor),
        "drop" => drop_(cursor),
        "reindex" => reindex(cursor),
        "cluster" => {
            cursor.skip_parentheses();
            cursor.eat("verbose");
            let names: Vec<_> = cursor.name().into_iter().collect();
            // All that were ever clustered.
            let all = names.is_empty();
            let kind = Kind::Ddl(Ddl {
                names,
                ..Ddl::strong(Verb::Rewrite, Object::Table)
            });
            if all { outside(kind) } else { kind_of(kind) }
        }
        "vacuum" => outside(vacuum(cursor)),
        "analyze" | "analyse" => kind_of(Kind::Patient(analyze(cursor))),
        "refresh" => kind_of(refresh(cursor)),
        "comment" | "security" => kind_of(Kind::Ddl(Ddl::weak(Verb::Comment, Object::Other))),
        "grant" => kind_of(Kind::Ddl(Ddl::weak(Verb::Grant, Object::Other))),
        "revoke" => kind_of(Kind::Ddl(Ddl::weak(Verb::Revoke, Object::Other))),
        "reassign" => kind_of(Kind::Ddl(Ddl::strong(Verb::Alter, Object::Other))),
        "import" => kind_of(Kind::Ddl(Ddl::weak(Verb::Create, Object::Table))),
        _ => kind_of(Kind::Dml),
    }
}

const fn settings(lock_timeout: bool) -> Kind {
    Kind::Settings { lock_timeout }
}

fn setting(cursor: &mut Cursor<'_>) -> Kind {
    let set = |cursor: &mut Cursor<'_>| cursor.eat_any(&["transaction", "constraints"]);
    if set(cursor) || cursor.eat("session characteristics") {
        return Kind::Transaction(Control::Set);
    }
    cursor.eat_any(&["session", "local"]);
    if set(cursor) {
        return Kind::Transaction(Control::Set);
    }
    let name = cursor.name();
    settings(name.is_some_and(|name| name.plain() == "lock_timeout"))
}

fn select(cursor: &mut Cursor<'_>) -> Kind {
    cursor.eat("pg_catalog .");
    if !cursor.eat("set_config (") {
        return Kind::Dml;
    }
    let name = cursor.peek();
    let name = name.map_or("", |token| token.text.trim_matches('\''));
    settings(name.eq_ignore_ascii_case("lock_timeout"))
}

fn lock(cursor: &mut Cursor<'_>) -> Kind {
    cursor.eat("table");
    cursor.eat("only");
    let names = cursor.names();
    let weak = cursor.eat("in")
        && cursor.eat_any(&[
            "access share",
            "row share",
            "row exclusive",
            "share update exclusive",
        ]);
    Kind::Ddl(Ddl {
        names,
        strong: !weak,
        ..Ddl::strong(Verb::Lock, Object::Table)
    })
}

fn create(cursor: &mut Cursor<'_>) -> (Kind, Traits) {
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
        return (create_index(cursor, ddl), Traits::default()).map_outside();
    }
    ddl.conditional = cursor.eat_condition();
    ddl.names.extend(cursor.name());
    match ddl.object {
        Object::Table => {
            // A lock on the table that is referred to, or on the one that it becomes a part of.
            ddl.strong = cursor.sees("partition of") || cursor.has("references");
        }
        Object::View => ddl.strong = ddl.replaces,
        Object::Trigger | Object::Rule | Object::Policy => {
            ddl.strong = true;
            let on = if ddl.object == Object::Rule {
                "to"
            } else {
                "on"
            };
            if cursor.seek(on) {
                ddl.table = cursor.name();
            }
        }
        _ => {}
    }
    let traits = Traits {
        needs_no_transaction: matches!(
            ddl.object,
            Object::Database | Object::Tablespace | Object::Subscription
        ),
        ..Traits::default()
    };
    (Kind::Ddl(ddl), traits)
}

trait MapOutside {
    fn map_outside(self) -> Self;
}

impl MapOutside for (Kind, Traits) {
    fn map_outside(mut self) -> Self {
        if let Kind::Patient(Patient {
            task: Task::CreateIndex | Task::DropIndex | Task::Reindex(_) | Task::Detach,
            ..
        }) = self.0
        {
            self.1.needs_no_transaction = true;
        }
        self
    }
}

fn create_index(cursor: &mut Cursor<'_>, mut ddl: Ddl) -> Kind {
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
        return Kind::Patient(Patient {
            task: Task::CreateIndex,
            name: ddl.names.pop(),
            table: ddl.table,
            conditional: ddl.conditional,
            unique: ddl.unique,
        });
    }
    // It keeps out all who write.
    ddl.strong = true;
    Kind::Ddl(ddl)
}

fn alter_(cursor: &mut Cursor<'_>) -> (Kind, Traits) {
    let mut ddl = Ddl::weak(Verb::Alter, object(cursor));
    let mut traits = Traits::default();
    if ddl.object == Object::System {
        traits.needs_no_transaction = true;
        return (Kind::Ddl(ddl), traits);
    }
    if cursor.eat("all in tablespace") {
        ddl.strong = true;
        return (Kind::Ddl(ddl), traits);
    }
    ddl.conditional = cursor.eat_condition();
    cursor.eat("only");
    ddl.names.extend(cursor.name());
    cursor.eat("*");
    match ddl.object {
        Object::Table | Object::View | Object::MaterializedView | Object::Index => {
            return alter_table(cursor, ddl);
        }
        Object::Sequence | Object::Domain => ddl.strong = true,
        Object::Trigger | Object::Rule | Object::Policy => {
            ddl.strong = true;
            if cursor.eat("on") {
                ddl.table = cursor.name();
            }
            ddl.actions = alter::actions(cursor);
        }
        Object::Type => {
            traits.needs_no_transaction = cursor.sees("add value");
            // Tables of a composite type.
            ddl.strong = ["add attribute", "drop attribute", "alter attribute"]
                .iter()
                .any(|words| cursor.sees(words));
        }
        Object::Database => traits.needs_no_transaction = cursor.sees("set tablespace"),
        Object::Subscription => {
            traits.needs_no_transaction = cursor.sees("refresh") || cursor.has("publication");
        }
        _ => {}
    }
    if cursor.eat("rename to") {
        ddl.verb = Verb::Rename;
        ddl.to = cursor.name();
    }
    (Kind::Ddl(ddl), traits)
}

fn alter_table(cursor: &mut Cursor<'_>, mut ddl: Ddl) -> (Kind, Traits) {
    ddl.actions = alter::actions(cursor);
    let all = |verb: Verb| !ddl.actions.is_empty() && ddl.actions.iter().all(|a| a.verb == verb);
    let task = if all(Verb::Validate) {
        Some(Task::Validate)
    } else if all(Verb::Detach) && ddl.actions.iter().all(|action| action.concurrently) {
        Some(Task::Detach)
    } else {
        None
    };
    if let Some(task) = task {
        let patient = Patient {
            task,
            name: ddl.names.pop(),
            table: match task {
                Task::Detach => ddl.actions.pop().and_then(|action| action.name),
                _ => None,
            },
            conditional: ddl.conditional,
            unique: false,
        };
        return (Kind::Patient(patient), Traits::default()).map_outside();
    }
    if let [
        Action {
            verb: Verb::Rename,
            object: Object::Other,
            to: Some(to),
            ..
        },
    ] = &*ddl.actions
    {
        ddl.verb = Verb::Rename;
        ddl.to = Some(to.clone());
    }
    let index = ddl.object == Object::Index;
    let weak = |action: &Action| match action.verb {
        Verb::Validate => true,
        Verb::Rename => index,
        _ => action.weak,
    };
    ddl.strong = !ddl.actions.iter().all(weak);
    (Kind::Ddl(ddl), Traits::default())
}

fn drop_(cursor: &mut Cursor<'_>) -> (Kind, Traits) {
    let mut ddl = Ddl::weak(Verb::Drop, object(cursor));
    let mut traits = Traits::default();
    let concurrently = ddl.object == Object::Index && cursor.eat("concurrently");
    ddl.conditional = cursor.eat_condition();
    ddl.names = cursor.names();
    if concurrently {
        let patient = Patient {
            task: Task::DropIndex,
            name: ddl.names.into_iter().next(),
            table: None,
            conditional: ddl.conditional,
            unique: false,
        };
        return (Kind::Patient(patient), traits).map_outside();
    }
    match ddl.object {
        Object::Table
        | Object::Index
        | Object::View
        | Object::MaterializedView
        | Object::Sequence => ddl.strong = true,
        Object::Trigger | Object::Rule | Object::Policy => {
            ddl.strong = true;
            if cursor.eat("on") {
                ddl.table = cursor.name();
            }
        }
        Object::Database | Object::Tablespace | Object::Subscription => {
            traits.needs_no_transaction = true;
        }
        // All that is in it, or depends on it.
        _ => ddl.strong = ddl.object == Object::Owned || cursor.has("cascade"),
    }
    (Kind::Ddl(ddl), traits)
}

fn reindex(cursor: &mut Cursor<'_>) -> (Kind, Traits) {
    let mut concurrently = options(cursor, "concurrently");
    let object = object(cursor);
    concurrently |= cursor.eat("concurrently");
    let name = cursor.name();
    let traits = Traits {
        needs_no_transaction: concurrently
            || matches!(object, Object::Database | Object::System | Object::Schema),
        ..Traits::default()
    };
    if concurrently {
        let patient = Patient {
            task: Task::Reindex(object),
            name,
            table: None,
            conditional: false,
            unique: false,
        };
        return (Kind::Patient(patient), traits);
    }
    let ddl = Ddl {
        names: name.into_iter().collect(),
        ..Ddl::strong(Verb::Reindex, object)
    };
    (Kind::Ddl(ddl), traits)
}

/// Takes options in parentheses; whether this one is among them, and not turned off.
fn options(cursor: &mut Cursor<'_>, option: &str) -> bool {
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
    let mut full = options(cursor, "full");
    full |= cursor.eat("full");
    while cursor.eat_any(&["freeze", "verbose", "analyze", "analyse"]) {}
    let name = cursor.name();
    if full {
        return Kind::Ddl(Ddl {
            names: name.into_iter().collect(),
            ..Ddl::strong(Verb::Rewrite, Object::Table)
        });
    }
    Kind::Patient(Patient {
        task: Task::Vacuum,
        name,
        table: None,
        conditional: false,
        unique: false,
    })
}

fn analyze(cursor: &mut Cursor<'_>) -> Patient {
    cursor.skip_parentheses();
    cursor.eat("verbose");
    Patient {
        task: Task::Analyze,
        name: cursor.name(),
        table: None,
        conditional: false,
        unique: false,
    }
}

fn refresh(cursor: &mut Cursor<'_>) -> Kind {
    cursor.eat("materialized view");
    let concurrently = cursor.eat("concurrently");
    let name = cursor.name();
    if concurrently {
        return Kind::Patient(Patient {
            task: Task::Refresh,
            name,
            table: None,
            conditional: false,
            unique: false,
        });
    }
    Kind::Ddl(Ddl {
        names: name.into_iter().collect(),
        ..Ddl::strong(Verb::Refresh, Object::MaterializedView)
    })
}
