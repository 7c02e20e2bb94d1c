//! The parts of an `ALTER`.

use super::{Action, ActionLock, Object, Verb, cursor::Cursor};

/// The actions that follow the name of a table, or of what is altered like one.
pub(super) fn actions(cursor: &mut Cursor<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    while cursor.peek().is_some() {
        actions.push(action(cursor));
        if !cursor.seek(",") {
            break;
        }
    }
    actions
}

/// `a TO b, c TO d`
pub(super) fn renames(cursor: &mut Cursor<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some(name) = cursor.name() {
        let mut action = Action::new(Verb::Rename);
        action.object = Object::Table;
        action.name = Some(name);
        if cursor.seek("to") {
            action.to = cursor.name();
        }
        actions.push(action);
        if !cursor.eat(",") {
            break;
        }
    }
    actions
}

impl Action {
    fn new(verb: Verb) -> Self {
        Self {
            verb,
            object: Object::Other,
            name: None,
            to: None,
            conditional: false,
            lock: ActionLock::Strong,
        }
    }
}

fn action(cursor: &mut Cursor<'_>) -> Action {
    let word = cursor.word();
    let verb = match word.as_deref() {
        Some("add") => Verb::Add,
        Some("drop") => Verb::Drop,
        Some("rename") => Verb::Rename,
        Some("alter" | "modify" | "change") => Verb::Alter,
        Some("validate") => Verb::Validate,
        Some("attach") => Verb::Attach,
        Some("detach") => Verb::Detach,
        Some("truncate") => Verb::Truncate,
        _ => Verb::Other,
    };
    let mut action = Action::new(verb);
    match verb {
        Verb::Add | Verb::Drop | Verb::Alter | Verb::Validate => {
            object(cursor, &mut action);
            // On MySQL the new name comes next, be it the same.
            if word.as_deref() == Some("change") {
                action.to = cursor.name();
            }
        }
        Verb::Rename => rename(cursor, &mut action),
        Verb::Attach | Verb::Detach | Verb::Truncate => {
            action.object = Object::Partition;
            cursor.eat("partition");
            action.name = cursor.name();
            if cursor.eat("concurrently") {
                action.lock = ActionLock::Concurrently;
            } else if cursor.eat("finalize") {
                action.lock = ActionLock::Finalize;
            }
        }
        // `CLUSTER ON`, `SET WITHOUT CLUSTER`, `SET (fillfactor = 70)`, `RESET (..)`.
        _ => {
            let is_weak = ["on", "without cluster", "("];
            if is_weak.iter().any(|words| cursor.sees(words)) {
                action.lock = ActionLock::Weak;
            }
        }
    }
    action
}

fn object(cursor: &mut Cursor<'_>, action: &mut Action) {
    let is_constraint = cursor.eat_any(&["constraint", "foreign key", "primary key", "check"]);
    action.object = if is_constraint || cursor.sees("exclude") {
        Object::Constraint
    } else if cursor.eat_any(&[
        "unique index",
        "unique key",
        "fulltext index",
        "fulltext key",
        "spatial index",
        "spatial key",
        "index",
        "key",
        "unique",
        "fulltext",
        "spatial",
    ]) {
        Object::Index
    } else if cursor.eat("partition") {
        Object::Partition
    } else if cursor.sees("(") {
        // `ADD (a int, b int)`: more columns than one.
        action.object = Object::Column;
        return;
    } else {
        cursor.eat("column");
        Object::Column
    };
    action.conditional = cursor.eat_condition();
    // An index may have no name.
    let is_nameless = cursor.sees("(") || action.object == Object::Index && cursor.sees("using");
    if !is_nameless {
        action.name = cursor.name();
    }
    // `ALTER COLUMN a SET STATISTICS 100`, `SET (n_distinct = 5)`
    let is_weak = ["set statistics", "set (", "reset ("];
    if action.verb == Verb::Alter && is_weak.iter().any(|words| cursor.sees(words)) {
        action.lock = ActionLock::Weak;
    }
}

fn rename(cursor: &mut Cursor<'_>, action: &mut Action) {
    if cursor.eat_any(&["to", "as"]) {
        // The table itself.
        action.to = cursor.name();
        return;
    }
    action.object = if cursor.eat("constraint") {
        Object::Constraint
    } else if cursor.eat_any(&["index", "key"]) {
        Object::Index
    } else {
        cursor.eat("column");
        Object::Column
    };
    action.conditional = cursor.eat_condition();
    action.name = cursor.name();
    if cursor.eat_any(&["to", "as"]) {
        action.to = cursor.name();
    } else {
        // On MySQL `RENAME b` renames the table.
        action.object = Object::Other;
        action.to = action.name.take();
    }
}
