//! A session that stays open.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// A session on a server; dropped, it ends, and what it has not committed is rolled back.
#[must_use = "it ends when it is dropped"]
pub struct Session {
    client: Child,
}

impl Session {
    /// Runs `sql` by the database's own client, and returns when it is done.
    #[track_caller]
    pub(crate) fn open(mut client: Command, sql: &str) -> Self {
        const DONE: &str = "the session is open";
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut client = client.expect("it is installed with the server");
        let stdin = client.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{sql};\nSELECT '{DONE}';").expect("it reads");
        let stdout = client.stdout.as_mut().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let done = lines.any(|line| line == DONE);
        // It goes on to read what will not come: the pipe is open.
        let session = Self { client };
        assert!(done, "the client does not take {sql}");
        session
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
