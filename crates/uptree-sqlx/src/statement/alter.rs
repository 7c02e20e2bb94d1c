//! The parts of an `ALTER`.

use super::{Action, Object, Verb, cursor::Cursor};

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

fn action(cursor: &mut Cursor<'_>) -> Action {
    let verb = match cursor.word().as_deref() {
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
    let mut action = Action {
        verb,
        object: Object::Other,
        name: None,
        to: None,
        conditional: false,
        concurrently: false,
        weak: false,
    };
    match verb {
        Verb::Add | Verb::Drop | Verb::Alter | Verb::Validate => object(cursor, &mut action),
        Verb::Rename => rename(cursor, &mut action),
        Verb::Attach | Verb::Detach | Verb::Truncate => {
            action.object = Object::Partition;
            cursor.eat("partition");
            action.name = cursor.name();
            action.concurrently = cursor.eat_any(&["concurrently", "finalize"]);
        }
        // `CLUSTER ON`, `SET WITHOUT CLUSTER`, `SET (fillfactor = 70)`, `RESET (..)`.
        _ => {
            action.weak = cursor.sees("on") || cursor.sees("without cluster") || cursor.sees("(");
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
    if !cursor.sees("(") {
        action.name = cursor.name();
    }
    // `ALTER COLUMN a SET STATISTICS 100`, `SET (n_distinct = 5)`
    action.weak = action.verb == Verb::Alter
        && action.object == Object::Column
        && (cursor.sees("set statistics") || cursor.sees("set (") || cursor.sees("reset ("));
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
    }
}
