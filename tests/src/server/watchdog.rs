//! What ends a server when the test cannot: a test that is killed drops nothing.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::Kind;

/// Each line is the process to end; an empty one says that there is none. The input ends when the
/// test does, however it does: the system closes its side of the pipe. That a server has ended is seen
/// by a file which it removes last; the process itself may stay as a zombie in a container whose
/// init reaps nothing.
const SCRIPT: &str = r#"
while read -r line; do server=$line; done
if [ -n "$server" ]; then
    kill -"$2" "$server"
    tries=0
    while [ -n "$3" ] && [ -e "$1/$3" ] && [ $tries -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
fi
rm -rf "$1"
"#;

/// A shell that waits for the end of the test, ends the server if that still runs, and removes its
/// folder.
pub(super) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    pub(super) fn start(folder: &Path, kind: &Kind) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(folder)
            .args([kind.last_signal, kind.removed_last.unwrap_or_default()])
            // What kills the test often kills its group.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }

    pub(super) fn watch(&mut self, server: u32) {
        self.tell(&server.to_string());
    }

    pub(super) fn watch_nothing(&mut self) {
        self.tell("");
    }

    fn tell(&mut self, line: &str) {
        if let Some(pipe) = &mut self.pipe {
            // Without a watchdog the test can go on.
            let _ = writeln!(pipe, "{line}");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.shell.wait();
    }
}
