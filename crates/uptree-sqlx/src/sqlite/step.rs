//! Running a file outside a transaction, a statement a step.

use super::{
    foreign_keys::{Rebuild, rebuilds},
    link::PATIENCE,
    session::SqliteSession,
};
use crate::{
    files::File,
    ledger::Mark,
    place,
    session::{Entry, Failure, Session},
    statement::{Kind, Statement, Verb},
};

/// Where there is no lock between migrators, two may be at one file: what one has marked, the other
/// must not take back.
pub(super) const OVERTAKEN: &str = "another process has gone on with it";

impl SqliteSession {
    /// Sets again what the statements that are done have set, and looks what the file rebuilds.
    pub(super) async fn set_again(
        &mut self,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        let at = |(number, rebuild): (usize, Rebuild)| (statements[number].at, rebuild);
        self.rebuilds = rebuilds(statements).into_iter().map(at).collect();
        for statement in &statements[..done] {
            let sets = match &statement.kind {
                Kind::Settings { .. } => true,
                Kind::Ddl(ddl) => matches!(ddl.verb, Verb::Attach | Verb::Detach),
                _ => false,
            };
            if sets {
                let set = self.link.execute_patiently(statement.sql, PATIENCE).await;
                set.map_err(|error| Failure::File(None, error))?;
            }
        }
        Ok(())
    }

    /// Runs a statement and marks it, together if that can be.
    pub(super) async fn run_step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), Failure> {
        let place = place::of_offset(file.sql(), statement.at);
        let failed = |error| Failure::File(Some(place), error);
        let rebuild = self.rebuilds.iter().find(|(at, _)| *at == statement.at);
        if let Some((_, rebuild)) = rebuild {
            rebuild.look(&mut self.link.connection, Some(place)).await?;
        }
        if !self.is_atomic(statement) {
            let ran = self.link.execute_patiently(statement.sql, PATIENCE).await;
            ran.map_err(failed)?;
            return self
                .write_mark(file, mark, entry)
                .await
                .map_err(Failure::Ledger);
        }
        self.link.begin(PATIENCE).await.map_err(Failure::Ledger)?;
        let stepped = self.step_inside(file, statement, mark, entry).await;
        if let Err(failure) = stepped {
            self.link.roll_back().await;
            return Err(match failure {
                Failure::File(_, error) => failed(error),
                failure => failure,
            });
        }
        self.link.commit().await.map_err(failed)
    }

    pub(super) async fn write_mark(
        &mut self,
        file: &File,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), sqlx::Error> {
        self.link.begin(PATIENCE).await?;
        let marked = self.mark_inside(file, mark, entry).await;
        if marked.is_err() {
            self.link.roll_back().await;
            return marked;
        }
        self.link.commit().await
    }

    /// A mark, in the transaction that is open.
    async fn mark_inside(
        &mut self,
        file: &File,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), sqlx::Error> {
        let connection = &mut self.link.connection;
        // One that is begun is about the next statement; one that is done may be withdrawn.
        let before = match mark.begun {
            true => mark.done..=mark.done,
            false => mark.done.saturating_sub(1)..=mark.done,
        };
        if !self.tables.is_at(connection, file, before, entry).await? {
            return Err(sqlx::Error::Protocol(OVERTAKEN.to_owned()));
        }
        self.tables.mark(connection, file, mark, entry).await
    }

    /// A statement with its mark, in the transaction that is open.
    async fn step_inside(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
    ) -> Result<(), Failure> {
        let connection = &mut self.link.connection;
        let before = mark.done.saturating_sub(1);
        let is_at = self
            .tables
            .is_at(connection, file, before..=before, entry)
            .await;
        if !is_at.map_err(Failure::Ledger)? {
            return Err(Failure::Elsewhere);
        }
        let ran = self.link.execute(statement.sql).await;
        ran.map_err(|error| Failure::File(None, error))?;
        let connection = &mut self.link.connection;
        let marked = self.tables.mark(connection, file, mark, entry).await;
        marked.map_err(Failure::Ledger)
    }
}
