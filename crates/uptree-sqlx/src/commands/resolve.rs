//! `migrate resolve`: takes the answer to what only a person can know.

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use uptree_app::{BoxError, Exit, Result, help};

use super::{
    Chosen, Found,
    ask::ask,
    desk::Desk,
    elsewhere,
    output::{answer, object},
    unwritable,
    words::Words,
};
use crate::{
    ConnectError,
    files::File,
    ledger::{Mark, Row},
    place,
    session::{Entry, Lock, Migratable, Session},
    statement::{self, Statement},
    steps::digests,
    target::with_database,
};

pub(super) fn arguments(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    command
        .arg(
            Arg::new("version")
                .value_name("VERSION")
                .required(true)
                .value_parser(clap::value_parser!(i64))
                .help("Which migration"),
        )
        .arg(flag("done", "The statement in doubt was done"))
        .arg(flag(
            "not-done",
            "The statement in doubt was not done: it is run again",
        ))
        .arg(flag(
            "applied",
            "What sqlx has begun has been finished by hand",
        ))
        .arg(flag(
            "rolled-back",
            "What sqlx has begun has been undone by hand: it is run again",
        ))
        .arg(flag(
            "accept-change",
            "The file was changed after it was run, and that is right",
        ))
        .arg(flag("yes", "Does not ask"))
        .group(ArgGroup::new("answer").args(ANSWERS))
}

const ANSWERS: [&str; 5] = [
    "done",
    "not-done",
    "applied",
    "rolled-back",
    "accept-change",
];

/// What is not known of a migration.
enum Doubt<'a> {
    /// A process died at a statement.
    Step { file: &'a File, mark: &'a Mark },
    /// sqlx has begun it.
    Dirty(&'a Row),
    /// Its file is not what was applied.
    Changed { file: &'a File, row: &'a Row },
    /// Statements that are done were changed.
    ChangedSteps { file: &'a File, mark: &'a Mark },
}

pub(super) async fn run(chosen: &Chosen, matches: &ArgMatches) -> Result<Exit> {
    let version: i64 = matches.get_one("version").copied().unwrap_or_default();
    let files = chosen.files()?;
    let found = chosen.read().await?;
    let doubt = doubt(chosen, &files, &found, version)?;
    let given = ANSWERS
        .iter()
        .copied()
        .find(|answer| matches.get_flag(answer));
    let given = given.unwrap_or_default();
    let Some(work) = work(chosen, &doubt, given) else {
        let (what, remedies) = doubt.words(chosen);
        let error = match given {
            "" => what,
            given => format!("{what}: --{given} is no answer to that"),
        };
        return Err(help(error, format!("say {remedies}")));
    };
    let (what, _) = doubt.words(chosen);
    let question = format!("{what}.\nThis {}. Type yes:", work.words);
    ask(question, "yes".to_owned(), matches.get_flag("yes"), "--yes").await?;
    match work.write {
        Write::Sql(sql) => change(chosen, &sql).await?,
        Write::Mark(file, old, new) => mark(chosen, file, old, &new).await?,
    }
    answer(
        chosen.json,
        || format!("migration {version}: {}", work.done),
        || {
            let mut object = object("resolve", chosen);
            object.insert("version".into(), version.into());
            object.insert("answer".into(), given.into());
            object.into()
        },
    );
    Ok(Exit::clean())
}

/// What is to be asked about a migration.
///
/// # Errors
///
/// Nothing is.
fn doubt<'a>(
    chosen: &Chosen,
    files: &'a [File],
    found: &'a Found,
    version: i64,
) -> Result<Doubt<'a>> {
    let file = files.iter().find(|file| file.version() == version);
    let row = found.ledger.rows.iter().find(|row| row.version == version);
    let nothing = |what: String| help(what, "`migrate status` shows what is");
    match (row, file) {
        (None, None) => Err(nothing(format!("there is no migration {version}"))),
        (None, Some(file)) => Err(nothing(format!(
            "there is no doubt about {file}: it is not applied"
        ))),
        (Some(row), Some(file)) if row.success && row.checksum != file.checksum() => {
            Ok(Doubt::Changed { file, row })
        }
        (Some(row), _) if row.success => Err(nothing(format!(
            "there is no doubt about migration {version}: it is applied"
        ))),
        (Some(row), file) => match (&row.mark, file) {
            (None, _) => Ok(Doubt::Dirty(row)),
            (Some(_), None) => Err(help(
                format!("migration {version} was begun by another release"),
                "resolve it with that release, which has its file",
            )),
            (Some(mark), Some(file)) => {
                let statements = statement::parse(file.sql(), chosen.dialect());
                if digests(&statements).get(mark.done) != Some(&mark.digest) {
                    Ok(Doubt::ChangedSteps { file, mark })
                } else if mark.begun {
                    Ok(Doubt::Step { file, mark })
                } else {
                    Err(nothing(format!(
                        "there is no doubt about {file}: {} of its {} statements are done, and \
                         `migrate up` goes on there",
                        mark.done,
                        statements.len(),
                    )))
                }
            }
        },
    }
}

impl Doubt<'_> {
    /// What is not known, and what may be said.
    fn words(&self, chosen: &Chosen) -> (String, &'static str) {
        match self {
            Self::Step { file, mark } => {
                let statements = statement::parse(file.sql(), chosen.dialect());
                let place = statements.get(mark.done);
                let place = place.map(|it| place::of_offset(file.sql(), it.at).line);
                let (number, line) = (mark.done + 1, place.unwrap_or_default());
                (
                    format!("a process died at statement {number} of {file}, in line {line}"),
                    "--done or --not-done",
                )
            }
            Self::Dirty(row) => (
                format!(
                    "migration {} ({}) was begun by sqlx and did not finish",
                    row.version, row.description
                ),
                "--applied or --rolled-back",
            ),
            Self::Changed { file, .. } => (
                format!("{file} has been changed since it was applied"),
                "--accept-change, or put it back as it was",
            ),
            Self::ChangedSteps { file, mark } => (
                format!(
                    "{file} has been changed in its first {} statements, which are done",
                    mark.done
                ),
                "--accept-change, or put them back as they were",
            ),
        }
    }
}

/// What an answer leads to.
struct Work<'a> {
    /// What it does, and what it has done.
    words: String,
    done: &'static str,
    write: Write<'a>,
}

enum Write<'a> {
    /// Changes one row.
    Sql(String),
    /// Writes a file's mark, where there was another.
    Mark(&'a File, &'a Mark, Mark),
}

/// `None`: it is no answer to this.
fn work<'a>(chosen: &Chosen, doubt: &Doubt<'a>, given: &str) -> Option<Work<'a>> {
    let words = Words::new(chosen.migrator.names(), chosen.dialect());
    let ledger = &words.ledger;
    match (doubt, given) {
        (Doubt::Step { file, mark }, "done") => {
            let statements = statement::parse(file.sql(), chosen.dialect());
            Some(Work {
                words: format!("enters statement {} as done", mark.done + 1),
                done: "entered as done",
                write: Write::Mark(file, mark, at(&statements, mark.done + 1)),
            })
        }
        (Doubt::Step { file, mark }, "not-done") => {
            let statements = statement::parse(file.sql(), chosen.dialect());
            Some(Work {
                words: format!("lets statement {} be run again", mark.done + 1),
                done: "to be run again",
                write: Write::Mark(file, mark, at(&statements, mark.done)),
            })
        }
        (Doubt::ChangedSteps { file, mark }, "accept-change") => {
            let statements = statement::parse(file.sql(), chosen.dialect());
            (mark.done <= statements.len()).then(|| Work {
                words: format!(
                    "takes the first {} statements for those that were run",
                    mark.done
                ),
                done: "the change is accepted",
                write: Write::Mark(
                    file,
                    mark,
                    Mark {
                        begun: mark.begun,
                        before: mark.before.clone(),
                        ..at(&statements, mark.done)
                    },
                ),
            })
        }
        (Doubt::Dirty(row), "applied") => Some(Work {
            words: "enters it as applied".to_owned(),
            done: "entered as applied",
            write: Write::Sql(format!(
                "UPDATE {ledger} SET success = TRUE WHERE version = {} AND NOT success",
                row.version
            )),
        }),
        (Doubt::Dirty(row), "rolled-back") => Some(Work {
            words: "takes it out of the ledger, so that it is run again".to_owned(),
            done: "to be run again",
            write: Write::Sql(format!(
                "DELETE FROM {ledger} WHERE version = {} AND NOT success",
                row.version
            )),
        }),
        (Doubt::Changed { file, row }, "accept-change") => {
            let (new, old) = (words.bytes(file.checksum()), words.bytes(&row.checksum));
            Some(Work {
                words: "takes the file as it is now for what was applied".to_owned(),
                done: "the change is accepted",
                write: Write::Sql(format!(
                    "UPDATE {ledger} SET checksum = {new} \
                     WHERE version = {} AND checksum = {old} AND success",
                    row.version
                )),
            })
        }
        _ => None,
    }
}

/// The mark of a file so many of whose statements are done.
fn at(statements: &[Statement<'_>], done: usize) -> Mark {
    Mark {
        done,
        digest: digests(&statements[..done]).pop().unwrap_or_default(),
        begun: false,
        before: None,
        finished: done == statements.len(),
    }
}

/// Changes one row, if it is still what it was.
async fn change(chosen: &Chosen, sql: &str) -> Result {
    let mut desk = Desk::open(chosen.target())
        .await
        .map_err(ConnectError::with_help)?;
    if !desk.begin().await.map_err(unwritable)? {
        return Err(elsewhere());
    }
    let changed = desk.change(sql).await;
    if changed.map_err(unwritable)? != 1 {
        return Err(meanwhile());
    }
    let committed = desk.commit().await;
    desk.close().await;
    committed.map_err(unwritable)
}

/// Writes a mark as a migrator does, if what there is is still the old one.
async fn mark(chosen: &Chosen, file: &File, old: &Mark, new: &Mark) -> Result {
    with_database!(chosen.target(), |database| {
        mark_in(chosen, database, file, old, new).await
    })
}

async fn mark_in<M: Migratable>(
    chosen: &Chosen,
    database: &M,
    file: &File,
    old: &Mark,
    new: &Mark,
) -> Result {
    let brake = database.brake();
    let session = chosen.session(database, &brake).await?;
    let mut session = session;
    let locked = match session.try_lock(file).await {
        Ok(Lock::Taken(ledger)) => Ok(ledger),
        Ok(Lock::Pooled) => Err(help(
            "it cannot be locked through a transaction pooler",
            "set MIGRATE_URL to the server itself, past the pooler",
        )),
        Ok(Lock::Elsewhere | Lock::Busy(_) | Lock::Yield) => Err(elsewhere()),
        Err(error) => Err(unwritable(error)),
    };
    let written = match locked {
        Err(error) => Err(error),
        Ok(ledger) => {
            let row = ledger.rows.iter().find(|row| row.version == file.version());
            match row.and_then(|row| row.mark.as_ref()) == Some(old) {
                true => {
                    let written = session.mark(file, new, Entry::There).await;
                    written.map_err(unwritable)
                }
                false => Err(meanwhile()),
            }
        }
    };
    session.unlock().await;
    session.close().await;
    written
}

fn meanwhile() -> BoxError {
    help(
        "the ledger says something else by now, and nothing was done",
        "look again, by `migrate status`",
    )
}
