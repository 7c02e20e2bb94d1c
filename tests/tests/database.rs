//! The service and its database: one that is not there, one that is to be migrated, one that goes
//! away and comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::json;
use uptree_tests::{
    Database, Ended, Example, Postgres, Signal, eventually, free_addr, migrations, on_both, slow,
};

const SOON: Duration = Duration::from_secs(20);

on_both!(
    a_migration_that_does_not_parse_is_told_with_its_place,
    a_migration_that_fails_half_way_is_rolled_back_and_those_before_it_stay,
    a_migration_that_sleeps_is_waited_for_alive_and_not_ready,
    a_sigterm_in_a_migration_stops_it_at_once_and_leaves_nothing_of_it,
    an_older_binary_boots_on_a_newer_schema_with_a_warning,
    a_file_that_was_changed_after_it_was_applied_fails_the_boot,
    a_folder_of_migrations_is_taken_instead_of_the_embedded_ones,
);

// ------------------------------------------------------------------ a database that is not there

/// What the log and the errors call it.
fn described(addr: SocketAddr) -> String {
    let (name, user) = (Database::NAME, Database::USER);
    format!("Postgres at {addr}, database {name}, user {user}")
}

#[test]
fn a_login_that_is_refused_is_told_at_once_with_the_servers_words() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let server = database.server();
    server.psql("postgres", "CREATE DATABASE private");
    server.psql("postgres", "REVOKE CONNECT ON DATABASE private FROM public");
    let (name, user, password) = (Database::NAME, Database::USER, Database::PASSWORD);
    let addr = server.addr();
    for (login, database, words, help) in [
        (
            (user, "wrong"),
            name,
            r#"password authentication failed for user "clerk" (SQLSTATE 28P01)"#,
            "see that the user and the password in DATABASE_URL are right",
        ),
        (
            ("nobody_here", password),
            name,
            r#"password authentication failed for user "nobody_here" (SQLSTATE 28P01)"#,
            "see that the user and the password in DATABASE_URL are right",
        ),
        (
            (user, password),
            "shoe",
            r#"database "shoe" does not exist (SQLSTATE 3D000)"#,
            r#"create it, with `CREATE DATABASE "shoe"`, or change DATABASE_URL"#,
        ),
        (
            (user, password),
            "private",
            "permission denied for database \"private\" (SQLSTATE 42501); \
             DETAIL: User does not have CONNECT privilege.",
            r#"GRANT CONNECT ON DATABASE "private" TO "clerk""#,
        ),
    ] {
        let url = server.url_as(login.0, login.1, database);
        let began = Instant::now();
        // At this level, too, nothing shows the password.
        let mut service = Example::spawn(&url, &[("RUST_LOG", "trace")]);
        assert_eq!(
            service.fails(1),
            format!(
                "error: service/repo did not start\n  \
                   caused by: cannot connect to Postgres at {addr}, database {database}, user {user}\n  \
                   caused by: {words}\n  \
                   help: {help}",
                user = login.0,
            )
        );
        // Not tried again for START_TIMEOUT.
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(!service.log().contains("service/migrator"));
    }
}

#[test]
fn a_database_that_is_down_for_five_seconds_is_waited_for() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let url = database.url();
    let server = database.server();
    server.stop();
    let addr = server.addr();
    let mut service = Example::spawn(&url, &[]);
    let began = Instant::now();
    let refused = format!("cannot connect to {}: Connection refused", described(addr));
    service.wait_for(&refused);
    while began.elapsed() < Duration::from_secs(5) {
        is_alive_and_not_ready(&service);
        thread::sleep(Duration::from_millis(20));
    }
    server.start_again();
    service.wait_until_ready();
    assert_eq!(service.status("/ready"), 200);
    // Told at once, then ever more rarely.
    let told = service.log().matches(&refused).count();
    assert!((2..=4).contains(&told), "{told}");
    service.wait_for(&format!("connected to {}", described(addr)));
    service.stop();
    assert_eq!(database.ledger(), "1 2 3");
}

#[test]
fn a_database_that_stays_down_fails_the_boot_with_the_refusal_itself() {
    let addr = free_addr();
    let (name, user, password) = (Database::NAME, Database::USER, Database::PASSWORD);
    let url = format!("postgres://{user}:{password}@{addr}/{name}");
    let began = Instant::now();
    let mut service = Example::spawn(&url, &[("START_TIMEOUT", "2s"), ("RUST_LOG", "debug")]);
    service.wait_for("service/endpoint listening");
    while began.elapsed() < Duration::from_millis(1500) {
        is_alive_and_not_ready(&service);
        thread::sleep(Duration::from_millis(20));
    }
    let refused = format!(
        "error: service/repo did not start\n  \
           caused by: not ready within 2s\n  \
           caused by: cannot connect to {}\n  \
           caused by: Connection refused (os error 111)\n  \
           help: see that the database is up, and that the address in DATABASE_URL is right",
        described(addr)
    );
    assert_eq!(service.fails(1), refused);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(5),
        "{took:?}"
    );
    let log = service.log();
    assert!(log.contains("service/endpoint stopped"), "{log}");
    assert!(!log.contains("service/migrator"), "{log}");
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_fails_the_boot_with_that() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let addr = listener.local_addr().expect("it is bound");
    let (name, user, password) = (Database::NAME, Database::USER, Database::PASSWORD);
    let url = format!("postgres://{user}:{password}@{addr}/{name}");
    let mut service = Example::spawn(&url, &[("START_TIMEOUT", "1s")]);
    let stderr = service.fails(1);
    let expected = format!(
        "error: service/repo did not start\n  \
           caused by: not ready within 1s\n  \
           caused by: cannot connect to {}: no answer within ",
        described(addr)
    );
    assert!(stderr.starts_with(&expected), "{stderr}");
}

/// A server that starts up, one without room, one that hangs up: each is tried again.
#[test]
fn what_may_pass_is_tried_again_until_it_has() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let url = database.url();
    let server = database.server();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let addr = proxy.local_addr().expect("it is bound");
    let url = url.replace(&server.addr().to_string(), &addr.to_string());
    let behind = server.addr();
    thread::spawn(move || {
        let answers = [
            Some(("57P03", "the database system is starting up")),
            Some(("53300", "sorry, too many clients already")),
            None,
        ];
        for (answer, client) in answers.into_iter().zip(proxy.incoming()) {
            refuse(client.expect("the service connects"), answer);
        }
        for client in proxy.incoming() {
            forward(client.expect("the service connects"), behind);
        }
    });
    let mut service = Example::spawn(&url, &[("RUST_LOG", "debug")]);
    service.wait_until_ready();
    let failed = service.log();
    let failed: Vec<_> = failed
        .lines()
        .filter(|line| line.contains("attempt failed"))
        .collect();
    assert_eq!(failed.len(), 3, "{failed:#?}");
    service.wait_for("the database system is starting up (SQLSTATE 57P03); trying again");
    service.wait_for("connected to Postgres");
    service.stop();
}

/// Speaks as Postgres does until it has been told who wants in; then refuses, or hangs up.
fn refuse(mut client: TcpStream, answer: Option<(&str, &str)>) {
    let mut startup = || {
        let mut length = [0; 4];
        client.read_exact(&mut length).expect("a packet");
        let mut packet = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut packet).expect("the whole of it");
        packet
    };
    let wants_tls = startup()[..4] == 80_877_103_u32.to_be_bytes();
    if wants_tls {
        client.write_all(b"N").expect("the service reads");
        let mut rest = [0; 4];
        client.read_exact(&mut rest).expect("a packet");
    }
    if let Some((code, message)) = answer {
        let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
        let length = u32::try_from(fields.len() + 4).expect("it is short");
        let error = [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat();
        client.write_all(&error).expect("the service reads");
    }
}

/// Lets a client talk to the server behind.
fn forward(client: TcpStream, server: SocketAddr) {
    let server = TcpStream::connect(server).expect("the server runs");
    for (mut from, mut to) in [
        (client.try_clone(), server.try_clone()),
        (Ok(server), Ok(client)),
    ]
    .map(|(from, to)| (from.expect("a socket"), to.expect("a socket")))
    {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
}

// ------------------------------------------------------------------ migrations

fn a_migration_that_does_not_parse_is_told_with_its_place(database: &Database) {
    let folder = migrations(&[
        ("0004_slow.sql", &slow(database, 1)),
        (
            "0005_broken.sql",
            "-- A comment.\nCREATE TABLE good (id INT);\nCREATE TABEL bad (id INT);\n",
        ),
        ("0006_next.sql", "CREATE TABLE next (id INT);"),
    ]);
    let dir = folder.path().display().to_string();
    // What is applied together would be told of as the first of it.
    Example::boot(&database.url(), &[]).stop();
    let mut service = Example::spawn(&database.url(), &[("MIGRATIONS_DIR", &dir)]);
    service.wait_for("service/migrator 0004_slow.sql");
    let mut polls = 0;
    while service.process.ended().is_none() {
        // Once it goes down nothing listens.
        let (alive, ready) = (service.status("/alive"), service.status("/ready"));
        assert!([0, 200].contains(&alive), "{alive}");
        assert!([0, 503].contains(&ready), "{ready}");
        polls += u32::from(alive == 200 && ready == 503);
        thread::sleep(Duration::from_millis(5));
    }
    assert!(
        polls > 10,
        "it answered {polls} times while it was migrated"
    );
    let (place, words) = if database.is_sqlite() {
        (
            "line 3, column 8",
            r#"near "TABEL": syntax error (SQLite code 1)"#,
        )
    } else {
        (
            "line 3, column 8",
            r#"syntax error at or near "TABEL" (SQLSTATE 42601)"#,
        )
    };
    assert_eq!(
        service.fails(1),
        format!(
            "error: service/migrator did not start\n  \
               caused by: migration 0005_broken.sql failed at {place}\n  \
               caused by: {words}"
        )
    );
    let log = service.log();
    assert!(!log.contains("service/ingestion"), "{log}");
    assert!(!log.contains("service/ready"), "{log}");
    assert_eq!(database.ledger(), "1 2 3 4");
    assert!(!has_table(database, "good") && !has_table(database, "next"));
}

fn a_migration_that_fails_half_way_is_rolled_back_and_those_before_it_stay(database: &Database) {
    let half =
        "CREATE TABLE half (id INT);\nINSERT INTO half VALUES (1);\nINSERT INTO none VALUES (1);\n";
    let folder = migrations(&[
        ("0004_before.sql", "CREATE TABLE before (id INT);"),
        ("0005_half.sql", half),
    ]);
    let dir = folder.path().display().to_string();
    let mut service = Example::spawn(&database.url(), &[("MIGRATIONS_DIR", &dir)]);
    let stderr = service.fails(1);
    let failed = "error: service/migrator did not start\n  \
                    caused by: migration 0005_half.sql failed at line 3";
    assert!(stderr.starts_with(failed), "{stderr}");
    assert_eq!(database.ledger(), "1 2 3 4");
    assert!(has_table(database, "before") && !has_table(database, "half"));
    if let Database::Postgres(server) = database {
        leaves_nothing_on(server);
    }

    // Put right, it is applied.
    let right = half.replace("none", "half");
    fs::write(folder.path().join("0005_half.sql"), right).expect("it is ours");
    Example::boot(&database.url(), &[("MIGRATIONS_DIR", &dir)]).stop();
    assert_eq!(database.ledger(), "1 2 3 4 5");
    assert_eq!(database.query("SELECT count(*) FROM half"), "2");
}

fn a_migration_that_sleeps_is_waited_for_alive_and_not_ready(database: &Database) {
    let folder = migrations(&[("0004_slow.sql", &slow(database, 3))]);
    let dir = folder.path().display().to_string();
    // What a migration takes is not for a start timeout to know.
    let envs = [("MIGRATIONS_DIR", &*dir), ("START_TIMEOUT", "1s")];
    Example::boot(&database.url(), &[]).stop();
    let mut service = Example::spawn(&database.url(), &envs);
    service.wait_for("service/migrator 0004_slow.sql");
    let mut polls = 0;
    loop {
        assert_eq!(service.status("/alive"), 200);
        let (ready, answer) = (service.status("/ready"), service.get("/readings"));
        if (ready, answer.status) != (503, 503) {
            // It has just come to its end, as the log says.
            let applied = |line: &str| line.contains("migration applied file=0004_slow.sql");
            let process = &service.process;
            process.wait_for_line(applied, Duration::from_millis(200));
            break;
        }
        assert!(answer.header("retry-after").is_some());
        let content_type = answer.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"));
        polls += 1;
        thread::sleep(Duration::from_millis(5));
    }
    assert!(
        polls > 10,
        "it answered {polls} times while it was migrated"
    );
    service.wait_until_ready();
    assert_eq!(service.status("/alive"), 200);
    assert_eq!(service.status("/ready"), 200);
    assert_eq!(service.get("/readings").json(), json!([]));
    service.stop();
}

fn a_sigterm_in_a_migration_stops_it_at_once_and_leaves_nothing_of_it(database: &Database) {
    // How long it takes is in the database, so that the same file can be quick the next time.
    let patience = "CREATE TABLE patience (units INT); INSERT INTO patience VALUES (1000000000)";
    let sleep = if database.is_sqlite() {
        "CREATE TABLE slept AS
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n, patience WHERE i < units)
         SELECT count(*) AS times FROM n"
    } else {
        "CREATE TABLE half (id INT); SELECT pg_sleep(units) FROM patience; CREATE TABLE slept ()"
    };
    let folder = migrations(&[("0004_patience.sql", patience)]);
    let dir = folder.path().display().to_string();
    let envs = [("MIGRATIONS_DIR", &*dir)];
    Example::boot(&database.url(), &envs).stop();
    fs::write(folder.path().join("0005_sleep.sql"), sleep).expect("it is ours");
    let mut service = Example::spawn(&database.url(), &envs);
    service.wait_for("service/migrator 0005_sleep.sql");
    if let Database::Postgres(server) = database {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        eventually(SOON, || {
            (server.psql("postgres", sleeping) == "1").then_some(())
        });
    }
    is_alive_and_not_ready(&service);

    let began = Instant::now();
    service.process.signal(Signal::TERM);
    let ended = service.process.wait(SOON);
    let took = began.elapsed();
    assert_eq!(ended, Ended::Code(0), "{}", service.process.stderr());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(service.process.stderr(), "");
    if let Database::Postgres(server) = database {
        // It has seen to it itself: not waited until the server noticed.
        leaves_nothing_on(server);
    }
    assert_eq!(database.ledger(), "1 2 3 4");
    assert!(!has_table(database, "half") && !has_table(database, "slept"));

    database.query("UPDATE patience SET units = 1");
    Example::boot(&database.url(), &envs).stop();
    assert_eq!(database.ledger(), "1 2 3 4 5");
    assert!(has_table(database, "slept"));
}

fn an_older_binary_boots_on_a_newer_schema_with_a_warning(database: &Database) {
    let newer = [
        (
            "0004_units.sql",
            "ALTER TABLE readings ADD COLUMN unit TEXT",
        ),
        ("0005_places.sql", "CREATE TABLE places (id INT)"),
    ];
    let folder = migrations(&newer);
    let dir = folder.path().display().to_string();
    Example::boot(&database.url(), &[("MIGRATIONS_DIR", &dir)]).stop();
    let schema = database.schema();
    // It has three migrations.
    let mut older = Example::boot(&database.url(), &[]);
    for (version, name) in [(4, "units"), (5, "places")] {
        let warning = format!(
            " WARN service/migrator the schema is newer than this program: migration {version} \
             ({name}) is unknown to it"
        );
        assert_eq!(older.log().matches(&warning).count(), 1, "{}", older.log());
    }
    // It serves.
    assert_eq!(older.post(&json!({"sensor": "a", "value": 1})).status, 202);
    eventually(SOON, || {
        (older.get("/readings").json() != json!([])).then_some(())
    });
    older.stop();
    assert_eq!(database.schema(), schema);
    // And the newer one is none the wiser.
    let mut newer = Example::boot(&database.url(), &[("MIGRATIONS_DIR", &dir)]);
    assert!(!newer.log().contains(" WARN "), "{}", newer.log());
    newer.stop();
}

fn a_file_that_was_changed_after_it_was_applied_fails_the_boot(database: &Database) {
    let folder = migrations(&[("0004_places.sql", "CREATE TABLE places (id INT)")]);
    let dir = folder.path().display().to_string();
    let envs = [("MIGRATIONS_DIR", &*dir)];
    Example::boot(&database.url(), &envs).stop();
    let schema = database.schema();
    let changed = "CREATE TABLE places (id BIGINT)";
    fs::write(folder.path().join("0004_places.sql"), changed).expect("it is ours");
    // What would come after it is not applied either.
    let next = folder.path().join("0005_next.sql");
    fs::write(next, "CREATE TABLE next (id INT)").expect("it is ours");
    assert_eq!(
        Example::spawn(&database.url(), &envs).fails(1),
        "error: service/migrator did not start\n  \
           caused by: 0004_places.sql has been changed since it was applied\n  \
           help: put 0004_places.sql back as it was, and make the change in a new migration"
    );
    assert_eq!(database.schema(), schema);
}

fn a_folder_of_migrations_is_taken_instead_of_the_embedded_ones(database: &Database) {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let dir = folder.path().display().to_string();
    let envs = [("MIGRATIONS_DIR", &*dir)];
    let mut service = Example::boot(&database.url(), &envs);
    let warning = format!("WARN service/migrator there are no migrations in {dir}");
    assert!(service.log().contains(&warning), "{}", service.log());
    service.stop();
    assert_eq!(database.ledger(), "");
    // Those that the service needs are not there: a 500, whose cause is in the log alone.
    let mut service = Example::boot(&database.url(), &envs);
    let answer = service.get("/readings");
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("readings"), "{}", answer.text());
    service.wait_for("a request failed");
    service.stop();
    // The files themselves are as good as the embedded ones.
    let folder = migrations::<&str>(&[]);
    let dir = folder.path().display().to_string();
    Example::boot(&database.url(), &[("MIGRATIONS_DIR", &dir)]).stop();
    let schema = database.schema();
    let mut service = Example::boot(&database.url(), &[]);
    assert!(!service.log().contains("migration applied"));
    service.stop();
    assert_eq!(database.schema(), schema);
}

fn has_table(database: &Database, name: &str) -> bool {
    let sql = if database.is_sqlite() {
        format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'")
    } else {
        format!("SELECT count(*) FROM pg_tables WHERE tablename = '{name}'")
    };
    database.query(&sql) != "0"
}

/// No session of the service is left, and no lock of a migrator's.
#[track_caller]
fn leaves_nothing_on(server: &Postgres) {
    let user = Database::USER;
    let sessions =
        format!("SELECT pid, state, query FROM pg_stat_activity WHERE usename = '{user}'");
    // A session that was told to end takes a moment for it.
    eventually(Duration::from_millis(500), || {
        server.psql("postgres", &sessions).is_empty().then_some(())
    });
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(server.psql("postgres", locks), "0");
}

// ------------------------------------------------------------------ a database that goes away

#[test]
fn a_database_that_is_lost_takes_nothing_down_and_all_heals_when_it_is_back() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let size = 40;
    let url = database.url();
    let mut service = Example::boot(&url, &[("QUEUE_SIZE", &size.to_string())]);
    let mut accepted = Vec::new();
    let reading = |n: usize| json!({"sensor": "a", "value": n});
    let mut ids = |service: &Example, n: usize| {
        let answer = service.post(&reading(n));
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer.json()["ids"][0].clone();
        accepted.push(id.as_str().expect("an id").to_owned());
    };
    ids(&service, 0);
    eventually(SOON, || {
        (service.get("/readings").json() != json!([])).then_some(())
    });

    // Twice: what has healed can be lost again. First as a crash, then as an operator stops it.
    for round in 0..2 {
        if round == 0 {
            database.server().kill();
        } else {
            database.server().stop();
        }
        for n in 0..size {
            ids(&service, n);
        }
        let began = Instant::now();
        let answer = service.post(&reading(0));
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
        assert!(began.elapsed() < Duration::from_secs(1));
        thread::scope(|scope| {
            for path in ["/readings", "/sensors/a", "/readings?sensor=a"] {
                let service = &service;
                scope.spawn(move || is_refused_by(service, path));
            }
        });
        database.server().start_again();
        eventually(SOON, || (service.status("/readings") == 200).then_some(()));
        let written = (1 + (round + 1) * size).to_string();
        eventually(SOON, || {
            (database.query("SELECT count(*) FROM readings") == written).then_some(())
        });
    }
    let log = service.log();
    assert!(!log.contains("restarting"), "{log}");
    assert!(log.contains("readings are written again"), "{log}");
    let complaints = log
        .matches("readings cannot be written: trying again")
        .count();
    assert!((2..=16).contains(&complaints), "{complaints}: {log}");
    service.stop();
    let written = database.query("SELECT id FROM readings ORDER BY id");
    let written: Vec<_> = written.lines().collect();
    accepted.sort();
    assert_eq!(written, accepted);
}

/// A GET while there is no database, and the probes.
#[track_caller]
fn is_refused_by(service: &Example, path: &str) {
    let began = Instant::now();
    let answer = service.get(path);
    assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    assert!(answer.header("retry-after").is_some());
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"));
    // The pool's timeout is 3 s.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{path}: {took:?}");
    // What the database said is not the client's business.
    assert!(!answer.text().contains("refused"), "{}", answer.text());
    assert_eq!(service.status("/alive"), 200);
    assert_eq!(service.status("/ready"), 200);
}

/// The probes while it boots.
#[track_caller]
fn is_alive_and_not_ready(service: &Example) {
    // The endpoint is there before anything else; until it is, nothing listens.
    let alive = eventually(SOON, || {
        Some(service.status("/alive")).filter(|status| *status != 0)
    });
    assert_eq!(alive, 200);
    let ready = service.status("/ready");
    // What is looked at is the boot: if it has just come to its end, that is what it says.
    assert!(
        ready == 503 || service.log().contains(" service booted in "),
        "{ready}"
    );
}
