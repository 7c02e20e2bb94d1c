//! `migrate grants`: the SQL that gives a role what it needs.

use std::fmt::Write;

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use serde_json::json;
use uptree_app::Exit;

use super::{
    Chosen,
    output::{answer, object},
};
use crate::{MigrateRole, target::Target};

pub(super) fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new("role")
                .long("role")
                .value_name("NAME")
                .help("Whose [default: the service's user of the database]"),
        )
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("ROLE")
                .value_parser(PossibleValuesParser::new(["apply", "wait", "off"]))
                .help("What it does, as MIGRATE says it [default: what MIGRATE says]"),
        )
        .after_help("It does not connect. What the service's own statements need is not in it")
}

pub(super) fn run(chosen: &Chosen, matches: &ArgMatches) -> Exit {
    let does = match matches.get_one::<String>("for").map(String::as_str) {
        Some("apply") => MigrateRole::Apply,
        Some("wait") => MigrateRole::Wait,
        Some("off") => MigrateRole::Off,
        _ => chosen.migrator.role(),
    };
    let role = matches.get_one::<String>("role").cloned();
    let role = role.unwrap_or_else(|| chosen.migrator.app().user().unwrap_or_default());
    let grants = grants(chosen, &role, does);
    let about = about(does);
    answer(
        chosen.json,
        || {
            let mut text = format!("-- {}: {about}\n", chosen.target());
            for Grant { why, sql } in &grants {
                _ = writeln!(text, "-- {why}");
                for sql in sql {
                    _ = writeln!(text, "{sql};");
                }
            }
            text
        },
        || {
            let mut object = object("grants", chosen);
            let grants: Vec<_> = grants
                .iter()
                .map(|grant| json!({ "why": grant.why, "sql": grant.sql }))
                .collect();
            object.insert("role".into(), role.clone().into());
            object.insert("for".into(), name(does).into());
            object.insert("grants".into(), json!(grants));
            object.into()
        },
    );
    Exit::clean()
}

struct Grant {
    why: &'static str,
    sql: Vec<String>,
}

fn name(does: MigrateRole) -> &'static str {
    match does {
        MigrateRole::Apply => "apply",
        MigrateRole::Wait => "wait",
        MigrateRole::Off => "off",
    }
}

fn about(does: MigrateRole) -> &'static str {
    match does {
        MigrateRole::Apply => "MIGRATE=apply, it applies migrations",
        MigrateRole::Wait => "MIGRATE=wait, it waits until another has applied them",
        MigrateRole::Off => "MIGRATE=off, it takes the schema as it is",
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
const CONNECT: &str = "to connect";
#[cfg(any(feature = "postgres", feature = "mysql"))]
const READ: &str = "to read the ledger; run it as its owner, once `migrate up` has made it";
#[cfg(feature = "postgres")]
const APPLY: &str = "to make the ledger and what the migrations make. A table that they change must \
    be owned by this role";

fn grants(chosen: &Chosen, role: &str, does: MigrateRole) -> Vec<Grant> {
    let names = chosen.migrator.names();
    match chosen.target() {
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => {
            let role = quoted(role, '"');
            let database = quoted(server.database(), '"');
            let schema = quoted(names.schema.as_deref().unwrap_or("public"), '"');
            let connect = Grant {
                why: CONNECT,
                sql: vec![
                    format!("GRANT CONNECT ON DATABASE {database} TO {role}"),
                    format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
                ],
            };
            let tables = [&names.ledger, &names.steps, &names.instances];
            let tables = tables.map(|table| format!("{schema}.{table}"));
            let more = match does {
                MigrateRole::Off => None,
                MigrateRole::Wait => Some(Grant {
                    why: READ,
                    sql: vec![format!("GRANT SELECT ON {} TO {role}", tables.join(", "))],
                }),
                MigrateRole::Apply => Some(Grant {
                    why: APPLY,
                    sql: vec![format!("GRANT CREATE ON SCHEMA {schema} TO {role}")],
                }),
            };
            [connect].into_iter().chain(more).collect()
        }
        #[cfg(feature = "sqlite")]
        Target::Sqlite(_) => {
            _ = (names, role, does);
            vec![Grant {
                why: "SQLite has no roles: the process's user must be able to write to the file \
                      and to its folder, also to wait",
                sql: Vec::new(),
            }]
        }
        #[cfg(feature = "mysql")]
        Target::MySql(server) => {
            let role = format!("'{}'@'%'", role.replace('\'', "''"));
            let database = server.options().get_database().unwrap_or_default();
            let database = quoted(database, '`');
            let tables = [&names.ledger, &names.steps, &names.instances];
            let grant = match does {
                MigrateRole::Off => Grant {
                    why: CONNECT,
                    sql: vec![format!("GRANT USAGE ON *.* TO {role}")],
                },
                MigrateRole::Wait => Grant {
                    why: READ,
                    sql: tables
                        .iter()
                        .map(|table| format!("GRANT SELECT ON {database}.{table} TO {role}"))
                        .collect(),
                },
                MigrateRole::Apply => Grant {
                    why: "to make the ledger and what the migrations make and change",
                    sql: vec![format!(
                        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, \
                         REFERENCES, CREATE VIEW, TRIGGER, CREATE ROUTINE, ALTER ROUTINE \
                         ON {database}.* TO {role}"
                    )],
                },
            };
            vec![grant]
        }
    }
}

/// A name as SQL has it.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn quoted(name: &str, quote: char) -> String {
    let doubled: String = [quote, quote].iter().collect();
    format!("{quote}{}{quote}", name.replace(quote, &doubled))
}
