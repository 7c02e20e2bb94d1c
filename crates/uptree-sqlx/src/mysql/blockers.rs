//! Who holds the lock that a statement did not get.

use sqlx::{AssertSqlSafe, Row, mysql::MySqlConnection, raw_sql};

use super::sql::text;
use crate::statement::{Kind, Statement};

/// How many are named.
const NAMED: usize = 5;

/// A session in words: of the list of sessions `p`, and of its transaction `t`.
const WORDS: &str =
    "SELECT DISTINCT CONCAT('connection ', p.id, ' (', p.user, ' from ', p.host, ', ',
    IF(p.command = 'Sleep', 'idle', LOWER(p.command)), ' for ', p.time, ' s',
    IF(t.trx_id IS NULL, '', CONCAT(', in a transaction for ',
        TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), ' s'))";

/// What it executes, in one line.
const QUERY: &str = "COALESCE(CONCAT(': ', LEFT(REPLACE(p.info, '\n', ' '), 100)), '')";

const OTHERS: &str = "JOIN information_schema.processlist AS p
    LEFT JOIN information_schema.innodb_trx AS t ON t.trx_mysql_thread_id = p.id
    WHERE p.id <> CONNECTION_ID()";

/// Asks who holds what `statement` wants, as well as the server can tell.
///
/// MySQL knows who holds a table by its name, and MariaDB if it has the plugin for it. Else it is
/// one of those with an open transaction; and who may not see the sessions of others is told
/// nothing.
pub(super) async fn find(
    connection: &mut MySqlConnection,
    statement: Option<&Statement<'_>>,
    with_queries: bool,
) -> Vec<String> {
    for sql in queries(&tables(statement), with_queries) {
        let rows = raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut *connection)
            .await;
        let words = rows.unwrap_or_default();
        let words = words.iter().filter_map(|row| row.try_get_unchecked(0).ok());
        let words: Vec<String> = words.take(NAMED).collect();
        if !words.is_empty() {
            return words;
        }
    }
    Vec::new()
}

fn queries(tables: &[String], with_queries: bool) -> Vec<String> {
    let query = if with_queries { QUERY } else { "''" };
    let words = format!("{WORDS}, {query}, ')')");
    let mut queries = Vec::new();
    if !tables.is_empty() {
        let tables = tables.join(", ");
        queries.push(format!(
            "{words} FROM performance_schema.metadata_locks AS h
             JOIN performance_schema.threads AS o ON o.thread_id = h.owner_thread_id
             {OTHERS} AND p.id = o.processlist_id AND h.object_type = 'TABLE'
                 AND h.lock_status = 'GRANTED' AND h.object_name IN ({tables})"
        ));
        queries.push(format!(
            "{words} FROM information_schema.metadata_lock_info AS h
             {OTHERS} AND p.id = h.thread_id AND h.table_name IN ({tables})"
        ));
    }
    queries.push(format!(
        "{words} FROM (SELECT 1) AS h {OTHERS} AND t.trx_id IS NOT NULL"
    ));
    queries
}

/// The tables that a change of the schema is about, as literals.
fn tables(statement: Option<&Statement<'_>>) -> Vec<String> {
    match statement.map(|statement| &statement.kind) {
        Some(Kind::Ddl(ddl)) => {
            let names = ddl.names.iter().chain(&ddl.table).chain(&ddl.to);
            names.map(|name| text(name.plain())).collect()
        }
        _ => Vec::new(),
    }
}
