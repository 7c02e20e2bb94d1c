//! A session that stays open.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// A session on a Postgres server; dropped, it ends, and what it has not committed is rolled back.
pub struct Session {
    psql: Child,
}

impl Session {
    /// Runs `sql` by `psql`, and returns when it is done.
    #[track_caller]
    pub(super) fn open(mut psql: Command, sql: &str) -> Self {
        const DONE: &str = "the session is open";
        let psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut psql = psql.expect("psql is installed with the server");
        let stdin = psql.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{sql};\n\\echo {DONE}").expect("psql reads");
        let stdout = psql.stdout.as_mut().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let done = lines.any(|line| line == DONE);
        // It goes on to read what will not come: the pipe is open.
        let session = Self { psql };
        assert!(done, "psql does not take {sql}");
        session
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
