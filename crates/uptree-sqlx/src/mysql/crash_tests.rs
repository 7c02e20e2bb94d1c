//! A process that dies between any two statements of a message, on a server.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, mysql::MySqlConnectOptions, raw_sql};
use tempfile::TempDir;
use uptree_app::{StopCause, Supervisor, chain};
use uptree_tests::{MariaDb, eventually};

use super::{script::Script, sql::Tables};
use crate::{
    DatabaseSettings, Migrator, Repo,
    files::File,
    ledger::{self, Names},
    split::Dialect,
    statement,
};

const BASE: &str = "CREATE TABLE base (id INT PRIMARY KEY, n INT);
INSERT INTO base VALUES (1, 10);
CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10));
CREATE TABLE gone (id INT);";

/// All kinds of statements: what is done twice fails, or is seen in the schema or in the rows.
const FILE: &str = "SET FOREIGN_KEY_CHECKS = 0;
SET @n = 7, SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES');
INSERT INTO base VALUES (2, @n);
CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES later (id));
CREATE TABLE \"later\" (id INT PRIMARY KEY, t VARCHAR(9));
ALTER TABLE base ADD COLUMN c INT DEFAULT 3;
ALTER TABLE base ADD INDEX (n);
CREATE INDEX by_c ON base (c);
ALTER TABLE base ADD CHECK (n < 1000), COMMENT 'once';
UPDATE base SET n = n + 1;
ALTER TABLE base MODIFY n BIGINT, ALTER COLUMN c DROP DEFAULT;
INSERT INTO base VALUES (3, @n, 1);
ALTER TABLE later ADD CONSTRAINT FOREIGN KEY (id) REFERENCES child (id) ON DELETE CASCADE;
ALTER TABLE parts ADD PARTITION (PARTITION p1 VALUES LESS THAN (20));
RENAME TABLE later TO latest;
RENAME TABLE base TO old_base, latest TO base;
ALTER TABLE old_base RENAME TO oldest;
UPDATE oldest SET n = n + 1;
DROP TABLE gone;
CREATE VIEW new_view AS SELECT COUNT(*) AS n FROM oldest;
CREATE PROCEDURE add_one() BEGIN UPDATE oldest SET n = n + 100; END;
CREATE TRIGGER counts BEFORE INSERT ON child FOR EACH ROW BEGIN SET NEW.p = 5; END;
INSERT INTO child VALUES (1, 1);
LOCK TABLES oldest WRITE;
UPDATE oldest SET n = n + 1;
ALTER TABLE oldest ADD COLUMN d INT;
UPDATE oldest SET d = n;
UNLOCK TABLES;
TRUNCATE TABLE parts;
INSERT INTO parts VALUES (1);
UPDATE oldest SET n = n + 1";

struct Trial {
    url: String,
    folder: TempDir,
}

impl Trial {
    fn new(server: &MariaDb, database: &str, file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("0001_base.sql"), BASE).unwrap();
        fs::write(folder.path().join("0002_of_text.sql"), file).unwrap();
        let url = server.create_database(database);
        Self { url, folder }
    }

    /// Boots, with files up to a version.
    async fn boot(&self, to: i64) -> Result<(), String> {
        let mut settings = DatabaseSettings::new(self.url.parse().unwrap());
        settings.migrate.dir = Some(self.folder.path().to_owned());
        let repo = Repo::new(&settings);
        let none = sqlx::migrate::Migrator::with_migrations(Vec::new());
        let migrator = Migrator::new(&repo, none).to(to);
        let tree = Supervisor::new("app").child(repo).child(migrator).start();
        let mut tree = tree.await.map_err(|error| chain(&*error))?;
        tree.stop(StopCause::Shutdown);
        tree.wait().await.map_err(|error| chain(&*error))
    }

    /// Runs statements in a session, and is gone.
    async fn die_after(&self, statements: &[String]) {
        let options: MySqlConnectOptions = self.url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        for sql in statements {
            let sql = AssertSqlSafe(sql.clone());
            raw_sql(sql).execute(&mut connection).await.unwrap();
        }
        connection.close_hard().await.unwrap();
    }
}

/// The statements of all the messages that a session sends for a file.
fn messages(file: &File, database: &str) -> Vec<String> {
    let names = Names::new("_sqlx_migrations", None);
    let tables = Tables::new(&names, Some(database));
    let parsed = statement::parse(file.sql(), Dialect::MySql);
    let script = Script::new(file, parsed, false);
    let mut all = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        let part = script.part(at, &tables, ledger::Tables::All);
        all.extend(part.message.sql().split("\n;\n").map(str::to_owned));
        from = part.next;
    }
    all
}

/// All that the file can change.
fn state(server: &MariaDb, database: &str) -> String {
    let tables = server.query(
        database,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()
         AND table_type = 'BASE TABLE' AND table_name NOT LIKE '\\_%' ORDER BY 1",
    );
    let mut state = String::new();
    for table in tables.lines() {
        state += &server.query(
            database,
            &format!("SHOW CREATE TABLE {table}; SELECT * FROM {table}"),
        );
    }
    state
        + &server.query(
            database,
            "SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = DATABASE();
             SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE();
             SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE();
             SELECT version, description, success, HEX(checksum), execution_time >= 0 FROM _sqlx_migrations;
             SELECT version, steps_done, steps_digest, step_begun, step_before FROM _uptree_migrations",
        )
}

/// Has a process die after so many statements, and another one go on.
async fn die_at(server: &MariaDb, point: usize, expected: &str) {
    let file = File::with_sql(2, "of text", FILE);
    let database = format!("x{point}");
    let trial = Trial::new(server, &database, FILE);
    trial.boot(1).await.unwrap();
    trial.die_after(&messages(&file, &database)[..point]).await;
    let gone =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{database}'");
    eventually(Duration::from_secs(10), || {
        (server.query("", &gone) == "0").then_some(())
    });
    if let Err(error) = trial.boot(2).await {
        panic!("at {point}: {error}");
    }
    let expected = expected.replace("undisturbed", &database);
    assert_eq!(state(server, &database), expected, "at {point}");
    server.query("", &format!("DROP DATABASE {database}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wherever_it_dies_it_goes_on_there_and_does_nothing_twice() {
    let Some(server) = MariaDb::start_with(["sync-frm=0"]) else {
        return;
    };
    let undisturbed = Trial::new(&server, "undisturbed", FILE);
    undisturbed.boot(2).await.unwrap();
    let expected: Arc<str> = state(&server, "undisturbed").into();
    let server = Arc::new(server);

    let file = File::with_sql(2, "of text", FILE);
    let points = messages(&file, "any").len();
    assert!(points > 70, "{points}");
    let next = Arc::new(AtomicUsize::new(0));
    let lanes: Vec<_> = (0..4)
        .map(|_| {
            let (server, next, expected) = (server.clone(), next.clone(), expected.clone());
            tokio::spawn(async move {
                loop {
                    let point = next.fetch_add(1, Ordering::Relaxed);
                    if point > points {
                        break;
                    }
                    die_at(&server, point, &expected).await;
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
    println!("{points} points");
}
