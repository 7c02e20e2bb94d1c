//! What the words for objects and transactions mean in all three dialects.

use super::{Control, Ddl, Name, Object, Patient, Task, Verb, cursor::Cursor};

impl Ddl {
    /// At which nobody has to wait.
    pub(super) const fn weak(verb: Verb, object: Object) -> Self {
        Self {
            verb,
            object,
            names: Vec::new(),
            table: None,
            to: None,
            actions: Vec::new(),
            replaces: false,
            conditional: false,
            temporary: false,
            unique: false,
            strong: false,
        }
    }

    /// At which others may have to wait.
    pub(super) const fn strong(verb: Verb, object: Object) -> Self {
        let mut ddl = Self::weak(verb, object);
        ddl.strong = true;
        ddl
    }

    /// Makes it a renaming if that is all that its actions are.
    pub(super) fn settle_rename(&mut self) {
        let to = match &mut *self.actions {
            [action] if action.verb == Verb::Rename && action.object == Object::Other => {
                action.to.take()
            }
            _ => None,
        };
        if to.is_some() {
            self.verb = Verb::Rename;
            self.to = to;
            self.actions.clear();
        }
    }
}

impl Patient {
    pub(super) fn new(task: Task, name: Option<Name>) -> Self {
        Self {
            task,
            name,
            table: None,
            conditional: false,
            unique: false,
        }
    }
}

/// Takes the words that say what kind of object it is.
pub(super) fn object(cursor: &mut Cursor<'_>) -> Object {
    for (words, object) in [
        ("foreign data wrapper", Object::Other),
        ("foreign table", Object::Table),
        ("virtual table", Object::Table),
        ("table", Object::Table),
        ("materialized view", Object::MaterializedView),
        ("view", Object::View),
        ("index", Object::Index),
        ("sequence", Object::Sequence),
        ("function", Object::Routine),
        ("procedure", Object::Routine),
        ("routine", Object::Routine),
        ("aggregate", Object::Routine),
        ("event trigger", Object::Other),
        ("trigger", Object::Trigger),
        ("event", Object::Event),
        ("rule", Object::Rule),
        ("policy", Object::Policy),
        ("type", Object::Type),
        ("domain", Object::Domain),
        ("schema", Object::Schema),
        ("database", Object::Database),
        ("tablespace", Object::Tablespace),
        ("extension", Object::Extension),
        ("role", Object::Role),
        ("user mapping", Object::Other),
        ("user", Object::Role),
        ("group", Object::Role),
        ("owned by", Object::Owned),
        ("statistics", Object::Statistics),
        ("publication", Object::Publication),
        ("subscription", Object::Subscription),
        ("system", Object::System),
        ("access method", Object::Other),
        ("text search configuration", Object::Other),
        ("text search dictionary", Object::Other),
        ("text search parser", Object::Other),
        ("text search template", Object::Other),
        ("operator class", Object::Other),
        ("operator family", Object::Other),
        ("operator", Object::Other),
        ("large object", Object::Other),
        ("default privileges", Object::Other),
    ] {
        if cursor.eat(words) {
            return object;
        }
    }
    // Such as `LANGUAGE`, `COLLATION`, `CAST`, `SERVER`.
    cursor.word();
    Object::Other
}

/// What a statement about a transaction does, whose first word this is.
pub(super) fn control(first: &str, cursor: &mut Cursor<'_>) -> Control {
    match first {
        "begin" | "start" => Control::Begin,
        "savepoint" => Control::Savepoint,
        "release" => Control::Release,
        _ if cursor.eat("prepared") => Control::Prepared,
        "commit" | "end" => Control::Commit,
        _ => {
            cursor.eat_any(&["work", "transaction"]);
            if cursor.sees("to") {
                Control::RollbackTo
            } else {
                Control::Rollback
            }
        }
    }
}
