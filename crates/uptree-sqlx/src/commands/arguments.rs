//! What `migrate` takes.

use clap::{Arg, ArgAction};

use super::{grants, resolve};

pub(super) fn command() -> clap::Command {
    let version = |help: &'static str| {
        Arg::new("to")
            .long("to")
            .value_name("VERSION")
            .value_parser(clap::value_parser!(i64))
            .help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let command = |name: &'static str, about: &'static str| clap::Command::new(name).about(about);
    let commands = [
        command("plan", "Shows what `up` would do, and changes nothing")
            .arg(flag("offline", "Lists all migrations, without a database")),
        command("status", "Shows what became of each migration").after_help(
            "Exit codes: 0 the schema is as this program needs it; 1 it is not, or it cannot \
                 be read",
        ),
        command(
            "up",
            "Applies what is missing, as the service does when it starts",
        )
        .arg(version("Applies no migration after this one"))
        .after_help(
            "Exit codes: 0 the ledger says that all is applied; 1 it failed; 143 or 130 ended \
                 by SIGTERM or SIGINT with something left",
        ),
        command(
            "dry-run",
            "Applies what is missing in a transaction, and rolls it back",
        )
        .arg(version("Tries no migration after this one"))
        .after_help(
            "Tables are locked for as long as it takes. On MySQL and MariaDB, where a schema \
                 cannot be rolled back, it prints the SQL",
        ),
        resolve::arguments(command(
            "resolve",
            "Takes the answer to what only a person can know",
        )),
        command(
            "baseline",
            "Enters migrations as applied, without running them",
        )
        .arg(version("The last of them").required(true))
        .arg(flag("yes", "Does not ask")),
        grants::arguments(command(
            "grants",
            "Prints the SQL that gives a role what it needs",
        )),
        command(
            "down",
            "Undoes migrations by their .down.sql files, for development",
        )
        .arg(version(
            "Undoes all after this one; 0: all [default: the last alone]",
        ))
        .arg(flag(
            "yes-i-know",
            "Does not ask: what is in the tables and columns that go is lost",
        ))
        .after_help("To roll back a release, start the older one: it runs on the newer schema"),
    ];
    let commands = commands.map(|command| {
        let child = Arg::new("child")
            .long("child")
            .value_name("PATH")
            .help("Which migrator, if there are several: its path or its id");
        command
            .arg(child)
            .arg(flag("json", "Prints one JSON object"))
    });
    clap::Command::new("migrate")
        .about("Plans, applies and explains the migrations of the database")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(commands)
}
