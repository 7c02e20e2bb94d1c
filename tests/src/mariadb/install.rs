//! The data folder, without the seconds that it takes to make one: it is made once, and copied.

use std::path::Path;

use xtask::servers;

use crate::server::{Account, command, template};

/// Part of the template's name: to be changed together with what [`install`] does.
const RECIPE: u32 = 1;

/// Makes `data` a data folder that nothing has run in.
pub(super) fn copy(programs: &servers::MariaDb, account: Option<Account>, data: &Path) {
    let name = format!("mariadb-template-{}-{RECIPE}", version(&programs.server));
    template::copy(&name, account, data, |data| {
        install(programs, account, data);
    });
}

fn install(programs: &servers::MariaDb, account: Option<Account>, data: &Path) {
    let mut install = command(&programs.install);
    install.args(settings(data));
    install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    if let Some(account) = account {
        account.run(&mut install);
    }
    template::run(install.current_dir(data.parent().expect("it is in a folder")));
}

/// What the server needs both to make the folder and to run in it: small, and for a machine that
/// it does not outlive. `--no-defaults` has to come first.
pub(super) fn settings(data: &Path) -> impl Iterator<Item = String> {
    let data = format!("--datadir={}", data.display());
    let rest = [
        "--innodb-flush-method=nosync",
        "--innodb-doublewrite=0",
        "--innodb-use-native-aio=0",
        "--innodb-buffer-pool-size=16M",
        "--innodb-log-file-size=4M",
        "--innodb-data-file-path=ibdata1:1M:autoextend",
        "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
        "--innodb-autoextend-increment=1",
        "--aria-log-file-size=8M",
        "--aria-pagecache-buffer-size=1M",
        "--key-buffer-size=1M",
        "--skip-name-resolve",
    ];
    let rest = rest.map(str::to_owned).into_iter();
    ["--no-defaults".to_owned(), data].into_iter().chain(rest)
}

/// Such as `10.11.14-MariaDB`.
fn version(server: &Path) -> String {
    let says = template::run(command(server).args(["--no-defaults", "--version"]));
    let mut version = says.split_whitespace().skip_while(|word| *word != "Ver");
    let version = version.nth(1);
    let version = version.expect("it says `mariadbd  Ver 10.11.14-MariaDB for ...`");
    version.replace(
        |letter: char| !letter.is_ascii_alphanumeric() && letter != '.',
        "-",
    )
}
