//! Files run statement by statement on a database of the test's own, which dies at every call.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::oneshot;
use uptree_app::{App, Result, Starting, service};

use super::*;
use crate::{
    ledger::{Instance, Ledger},
    session::Lock,
};

/// A database: what its statements have done, and the one file's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Database {
    done: BTreeSet<String>,
    /// How often each statement took effect.
    effects: Vec<String>,
    row: Option<Mark>,
}

/// A connection that is lost at one of its calls: before what it does, or after.
struct Fake {
    database: Arc<Mutex<Database>>,
    calls: u32,
    dies: Option<(u32, bool)>,
    verdict: Option<Verdict>,
    refuses: Option<&'static str>,
    /// What cannot be in a transaction, though nobody can see that, and whether it was tried.
    alone: Option<(&'static str, bool)>,
    /// Whether another program has to go first.
    yields: bool,
    /// What was told of, when the file was begun or gone on with.
    resumed: Option<usize>,
    resets: u32,
}

impl Fake {
    fn new(database: &Arc<Mutex<Database>>, dies: Option<(u32, bool)>) -> Self {
        Self {
            database: database.clone(),
            calls: 0,
            dies,
            verdict: None,
            refuses: None,
            alone: None,
            yields: false,
            resumed: None,
            resets: 0,
        }
    }

    fn call<T>(&mut self, effect: impl FnOnce(&mut Database) -> T) -> Result<T, sqlx::Error> {
        self.calls += 1;
        let lost = || Err(sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()));
        let dies = self.dies.filter(|(call, _)| *call == self.calls);
        if dies.is_some_and(|(_, after)| !after) {
            return lost();
        }
        let output = effect(&mut self.database.lock().unwrap());
        if dies.is_some() { lost() } else { Ok(output) }
    }
}

fn write(database: &mut Database, mark: &Mark) {
    database.row = (!mark.is_blank()).then(|| mark.clone());
}

fn execute(database: &mut Database, sql: &str) {
    database.done.insert(sql.to_owned());
    database.effects.push(sql.to_owned());
}

impl Session for Fake {
    async fn check(&mut self, _: Option<&Instance>) -> Result<Ledger, sqlx::Error> {
        Ok(Ledger::default())
    }

    async fn try_lock(&mut self, _: &File) -> Result<Lock, sqlx::Error> {
        Ok(Lock::Elsewhere)
    }

    fn is_locked_for(&self, _: &File) -> bool {
        true
    }

    async fn unlock(&mut self) {}

    async fn settle(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }

    fn is_stepwise(&self, _: &File) -> bool {
        true
    }

    async fn apply(&mut self, _: &[&File], _: &Activity) -> Result<usize, Failure> {
        Err(Failure::Elsewhere)
    }

    async fn may_begin(&mut self, entry: Entry) -> Result<bool, sqlx::Error> {
        assert_eq!(
            entry == Entry::New,
            self.database.lock().unwrap().row.is_none()
        );
        Ok(!self.yields)
    }

    async fn resume(
        &mut self,
        _: &File,
        statements: &[Statement<'_>],
        done: usize,
    ) -> Result<(), Failure> {
        assert!(done <= statements.len());
        self.resumed = Some(done);
        Ok(())
    }

    fn is_atomic(&self, statement: &Statement<'_>) -> bool {
        !statement.needs_no_transaction() && self.alone != Some((statement.sql, true))
    }

    async fn picture(&mut self, statement: &Statement<'_>) -> Result<String, sqlx::Error> {
        let sql = statement.sql;
        self.call(|database| database.done.contains(sql).to_string())
    }

    async fn inspect(
        &mut self,
        statement: &Statement<'_>,
        before: &str,
    ) -> Result<Verdict, sqlx::Error> {
        assert_eq!(before, "false", "it was drawn before the statement");
        let given = self.verdict;
        let sql = statement.sql;
        self.call(|database| {
            given.unwrap_or(match database.done.contains(sql) {
                true => Verdict::Done,
                false => Verdict::NotDone,
            })
        })
    }

    async fn mark(&mut self, _: &File, mark: &Mark, entry: Entry) -> Result<(), sqlx::Error> {
        self.call(|database| {
            assert_eq!(entry == Entry::New, database.row.is_none());
            write(database, mark);
        })
    }

    async fn step(
        &mut self,
        file: &File,
        statement: &Statement<'_>,
        mark: &Mark,
        entry: Entry,
        _: &Activity,
    ) -> Result<(), Failure> {
        let sql = statement.sql;
        if self.refuses == Some(sql) {
            return Err(Failure::Locked {
                place: None,
                error: sqlx::Error::RowNotFound,
                blockers: vec!["process 7".to_owned()],
            });
        }
        if let Some((alone, tried @ false)) = &mut self.alone
            && *alone == sql
        {
            *tried = true;
            return Err(Failure::Alone(None, sqlx::Error::RowNotFound));
        }
        assert!(self.resumed.is_some());
        let lost = |error| Failure::File(None, error);
        if self.is_atomic(statement) {
            return self
                .call(|database| {
                    assert_eq!(entry == Entry::New, database.row.is_none());
                    execute(database, sql);
                    write(database, mark);
                })
                .map_err(lost);
        }
        self.call(|database| execute(database, sql)).map_err(lost)?;
        self.mark(file, mark, entry).await.map_err(Failure::Ledger)
    }

    async fn reset(&mut self) -> Result<(), sqlx::Error> {
        self.resets += 1;
        Ok(())
    }

    async fn holder(&mut self) -> Option<String> {
        None
    }

    fn may_pass(error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::Io(_))
    }

    async fn close(self) {}
}

const FILE: &str = "-- no-transaction
CREATE TABLE a (id int);
CREATE INDEX CONCURRENTLY i ON a (id);
INSERT INTO a VALUES (1);
VACUUM a;
DROP INDEX CONCURRENTLY i";

/// Runs a file on a session, in the start of a child: `Err` is what it failed with.
async fn run_once(session: Fake, text: &'static str) -> Result<bool, String> {
    let (tell, told) = oneshot::channel();
    let state = Mutex::new(Some((session, tell)));
    let child = service("migrator", Arc::new(state), async move |state, cx| {
        let (mut session, tell) = state.lock().unwrap().take().expect("it is not restarted");
        let ran = drive(&cx, &mut session, &File::with_sql(5, "of text", text)).await;
        tell.send(ran.map_err(|error| error.to_string())).unwrap();
        cx.done()
    });
    let mut outcome = None;
    let app = App::new("app").child(child);
    let _ = app.run_until(async { outcome = told.await.ok() }).await;
    outcome.expect("it has run")
}

async fn drive(cx: &Starting, session: &mut Fake, file: &File) -> Result<bool, MigrateError> {
    let found = session.database.lock().unwrap().row.clone();
    let mut retry = LockRetry::new(cx, Duration::from_secs(30));
    let activity = Activity::default();
    let dialect = Dialect::Postgres;
    run(
        cx,
        session,
        dialect,
        file,
        found.as_ref(),
        &activity,
        &mut retry,
    )
    .await
}

fn finished(text: &'static str) -> Mark {
    let file = File::with_sql(5, "of text", text);
    let statements = statement::parse(file.sql(), Dialect::Postgres);
    Mark {
        done: statements.len(),
        digest: digests(&statements).pop().unwrap(),
        finished: true,
        ..Mark::default()
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_it_dies_it_goes_on_there_and_does_nothing_twice() {
    let undisturbed = Arc::new(Mutex::new(Database::default()));
    let mut points = 0;
    assert_eq!(
        run_once(Fake::new(&undisturbed, None), FILE).await,
        Ok(true)
    );
    let undisturbed = undisturbed.lock().unwrap().clone();
    assert_eq!(undisturbed.effects.len(), 5);
    assert_eq!(undisturbed.row, Some(finished(FILE)));
    for call in 1.. {
        let database = Arc::new(Mutex::new(Database::default()));
        let died = run_once(Fake::new(&database, Some((call, false))), FILE).await;
        if died.is_ok() {
            break;
        }
        for after in [false, true] {
            points += 1;
            let database = Arc::new(Mutex::new(Database::default()));
            let died = run_once(Fake::new(&database, Some((call, after))), FILE).await;
            assert!(died.is_err(), "call {call}");
            assert_eq!(run_once(Fake::new(&database, None), FILE).await, Ok(true));
            assert_eq!(
                *database.lock().unwrap(),
                undisturbed,
                "call {call}, {after}"
            );
        }
    }
    // Three of the five statements have a picture and two marks, the others one call.
    assert_eq!(points, 2 * (3 * 4 + 2));
}

#[tokio::test(start_paused = true)]
async fn a_file_may_be_mended_where_it_is_not_done_yet() {
    const MENDED: &str = "-- no-transaction
CREATE TABLE a (id int);
CREATE INDEX CONCURRENTLY j ON a (id)";
    const BROKEN: &str = "-- no-transaction
CREATE TABLE b (id int);
CREATE INDEX CONCURRENTLY i ON a (id)";
    // It dies in its second statement: at its picture.
    let database = Arc::new(Mutex::new(Database::default()));
    let died = run_once(Fake::new(&database, Some((2, false))), FILE).await;
    assert!(died.is_err());
    let error = run_once(Fake::new(&database, None), BROKEN).await;
    assert_eq!(
        error.unwrap_err(),
        "0005_of_text.sql has been changed in its first 1 statements, which are done"
    );
    assert_eq!(run_once(Fake::new(&database, None), MENDED).await, Ok(true));
    assert_eq!(database.lock().unwrap().row, Some(finished(MENDED)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_seen_is_asked_for_with_its_place() {
    let database = Arc::new(Mutex::new(Database::default()));
    // It dies after the index is built, and before its mark.
    let died = run_once(Fake::new(&database, Some((4, true))), FILE).await;
    assert!(died.is_err());
    let mut blind = Fake::new(&database, None);
    blind.verdict = Some(Verdict::Unknown);
    assert_eq!(
        run_once(blind, FILE).await.unwrap_err(),
        "0005_of_text.sql at line 3, column 1: a process died at statement 2, and it cannot be \
         seen whether it was done"
    );
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_never_gets_its_lock_fails_with_those_who_hold_it() {
    let database = Arc::new(Mutex::new(Database::default()));
    let mut session = Fake::new(&database, None);
    session.refuses = Some("INSERT INTO a VALUES (1)");
    let error = run_once(session, FILE).await.unwrap_err();
    assert!(
        error.starts_with("migration 0005_of_text.sql did not get its locks in ")
            && error.ends_with(" attempts within 30s; blocked by process 7"),
        "{error}"
    );
    // Nothing was begun that is not marked.
    let row = database.lock().unwrap().row.clone().unwrap();
    assert_eq!((row.done, row.begun), (2, false));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_refused_is_as_if_it_had_never_been_begun() {
    const TEXT: &str = "-- no-transaction
CREATE INDEX CONCURRENTLY i ON a (id);
INSERT INTO a VALUES (1)";
    let database = Arc::new(Mutex::new(Database::default()));
    let mut session = Fake::new(&database, None);
    session.refuses = Some("CREATE INDEX CONCURRENTLY i ON a (id)");
    run_once(session, TEXT).await.unwrap_err();
    // Not even a row is left; each attempt has made one of its own.
    assert_eq!(*database.lock().unwrap(), Database::default());
    // Also if nobody can see what it has done.
    let mut session = Fake::new(&database, None);
    session.refuses = Some("CREATE INDEX CONCURRENTLY i ON a (id)");
    session.verdict = Some(Verdict::Unknown);
    let error = run_once(session, TEXT).await.unwrap_err();
    assert!(error.contains("did not get its locks"), "{error}");
    assert_eq!(database.lock().unwrap().row, None);
    // It may turn out to have been done.
    let mut session = Fake::new(&database, None);
    session.refuses = Some("CREATE INDEX CONCURRENTLY i ON a (id)");
    session.verdict = Some(Verdict::Done);
    assert_eq!(run_once(session, TEXT).await, Ok(true));
    assert_eq!(database.lock().unwrap().row, Some(finished(TEXT)));
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_cannot_be_in_a_transaction_is_begun_and_run_by_itself() {
    let text = "-- no-transaction\nCALL p();\nINSERT INTO a VALUES (1)";
    let database = Arc::new(Mutex::new(Database::default()));
    let mut session = Fake::new(&database, None);
    session.alone = Some(("CALL p()", false));
    assert_eq!(run_once(session, text).await, Ok(true));
    let database = database.lock().unwrap();
    assert_eq!(database.effects, ["CALL p()", "INSERT INTO a VALUES (1)"]);
    assert_eq!(database.row, Some(finished(text)));
}

#[tokio::test(start_paused = true)]
async fn another_program_goes_first() {
    let database = Arc::new(Mutex::new(Database::default()));
    let mut session = Fake::new(&database, None);
    session.yields = true;
    assert_eq!(run_once(session, FILE).await, Ok(false));
    assert_eq!(*database.lock().unwrap(), Database::default());
}

#[tokio::test(start_paused = true)]
async fn a_file_without_statements_is_entered() {
    let text = "-- no-transaction\n-- nothing here\n";
    let database = Arc::new(Mutex::new(Database::default()));
    assert_eq!(run_once(Fake::new(&database, None), text).await, Ok(true));
    assert_eq!(database.lock().unwrap().row, Some(finished(text)));
}
