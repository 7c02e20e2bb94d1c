//! The server, and databases in the state that a work begins with.

use std::{cell::RefCell, collections::BTreeSet, fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use uptree_tests::Postgres;

use crate::{
    herd,
    works::{SYSTEMS, System, Work},
};

pub(crate) struct Databases {
    server: Postgres,
    /// Folders of migrations, by how many they have.
    folders: TempDir,
    /// The databases that are copied, each with so many migrations of a system applied.
    templates: RefCell<BTreeSet<String>>,
}

/// What a herd is to do. The database is a new one, if there is something to apply.
pub(crate) struct Job {
    pub(crate) peer: &'static str,
    pub(crate) folder: PathBuf,
    pub(crate) url: String,
    pub(crate) processes: usize,
    /// Whether the time counts from the common start.
    pub(crate) is_herd: bool,
}

/// The one that is migrated.
const NAME: &str = "shop";

impl Databases {
    /// `None` if Postgres is not installed.
    pub(crate) fn start() -> Option<Self> {
        let folders = tempfile::tempdir().expect("the temporary folder can be written");
        Some(Self {
            // Nothing in the background takes the processor meanwhile.
            server: Postgres::start_with(["max_connections=500", "autovacuum=off"])?,
            folders,
            templates: RefCell::default(),
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    pub(crate) fn prepare(&self, system: &System, work: &Work, n: usize) -> Result<Job> {
        let (applied, pending) = (work.applied(n), work.pending(n));
        let template = self.template(system, applied)?;
        let name = match (&template, pending) {
            (Some(template), 0) => template,
            (template, _) => {
                let like = template.as_deref().unwrap_or("template1");
                let sql = |sql: String| self.server.psql("postgres", &sql);
                sql(format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"));
                sql(format!("CREATE DATABASE {NAME} TEMPLATE {like}"));
                NAME
            }
        };
        Ok(Job {
            peer: system.name,
            folder: self.folder(applied + pending)?,
            url: self.server.url(name),
            processes: work.processes(n),
            is_herd: work.is_herd(),
        })
    }

    /// The name of a database with so many migrations applied by the system whose ledger it is.
    fn template(&self, system: &System, applied: usize) -> Result<Option<String>> {
        if applied == 0 {
            return Ok(None);
        }
        let system = SYSTEMS.iter().find(|it| it.name == system.ledger);
        let system = system.context("a ledger is somebody's")?;
        let name = format!("{}_{applied}", system.name);
        if self.templates.borrow_mut().insert(name.clone()) {
            let job = Job {
                peer: system.name,
                folder: self.folder(applied)?,
                url: self.server.create_database(&name),
                processes: 1,
                is_herd: false,
            };
            let run = herd::run(&job, self.addr(), std::time::Duration::ZERO)?;
            ensure!(run.failures == 0, "{}: {}", system.name, run.errors);
        }
        Ok(Some(name))
    }

    fn folder(&self, migrations: usize) -> Result<PathBuf> {
        let folder = self.folders.path().join(migrations.to_string());
        if !folder.exists() {
            fs::create_dir(&folder)?;
            for i in 1..=migrations {
                let sql = format!("CREATE TABLE t{i} (id int);\n");
                fs::write(folder.join(format!("{i:04}_t{i}.sql")), sql)?;
            }
        }
        Ok(folder)
    }
}
