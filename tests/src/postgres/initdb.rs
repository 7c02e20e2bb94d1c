//! The data folder, without `initdb`'s second: it runs once, and the result is copied.

use std::fs;
use std::path::Path;

use super::Postgres;
use crate::server::{Account, command, template};

/// Part of the template's name: to be changed together with what [`initdb`] does.
const RECIPE: u32 = 1;

/// Makes `data` a data folder that nothing has run in.
pub(super) fn copy(bin: &Path, account: Option<Account>, data: &Path) {
    let name = format!("pg-template-{}-{RECIPE}", version(bin));
    template::copy(&name, account, data, |data| initdb(bin, account, data));
}

fn initdb(bin: &Path, account: Option<Account>, data: &Path) {
    let password = data.with_file_name("password");
    fs::write(&password, Postgres::PASSWORD).expect("the folder was just made");
    let mut initdb = command(&bin.join("initdb"));
    initdb
        .args([
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--username",
            Postgres::USER,
            "--pwfile",
        ])
        .arg(&password);
    initdb
        .args([
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--wal-segsize=1",
            "--pgdata",
        ])
        .arg(data);
    if let Some(account) = account {
        account.run(&mut initdb);
        account.give(&password);
    }
    template::run(initdb.current_dir(data.parent().expect("it is in a folder")));
}

/// Such as `15.4`.
fn version(bin: &Path) -> String {
    let says = template::run(command(&bin.join("postgres")).arg("--version"));
    let version = says.split_whitespace().nth(2);
    version
        .expect("it says `postgres (PostgreSQL) 15.4`")
        .to_owned()
}
