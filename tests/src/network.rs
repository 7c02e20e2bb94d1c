//! A network of the test's own, whose cable can be pulled.

use std::env;
use std::process::Command;

/// Set in the test that runs in its own network.
const INSIDE: &str = "UPTREE_TESTS_NETWORK";

/// A network of the test's own, on Linux, for root: the loopback interface, on which a server is
/// reached by two addresses, one of which can be cut off. Nobody is told of it, as when a cable is
/// pulled: a [`Proxy`](crate::Proxy) cannot do that, because its sockets answer for it.
///
/// The server has to listen on both: `listen_addresses=127.0.0.1,127.0.0.2`.
pub struct Network(());

impl Network {
    const PLUGGED: &str = "127.0.0.1";
    const CABLE: &str = "127.0.0.2";

    /// Runs the test of this name again, in a network of its own: there it is `Some`. `None` means
    /// that this has been done, or that the test said that it is skipped: it should return.
    ///
    /// Fails the test if it fails there.
    #[track_caller]
    pub fn own(test: &str) -> Option<Self> {
        if env::var_os(INSIDE).is_some() {
            assert!(run(&["ip", "link", "set", "lo", "up"]), "it is ours");
            return Some(Self(()));
        }
        if !run(&["unshare", "--net", "ip", "link"]) {
            println!("skipped: it takes Linux, root, `unshare` and `ip` to have a network");
            return None;
        }
        let again = Command::new("unshare")
            .arg("--net")
            .arg(env::current_exe().expect("the system knows which binary this is"))
            .args(["--exact", test, "--nocapture", "--include-ignored"])
            .env(INSIDE, "1")
            .status();
        let status = again.expect("it was just tried");
        assert!(status.success(), "it failed in a network of its own");
        None
    }

    /// A URL of the same server, by the address that can be cut off.
    #[track_caller]
    pub fn by_cable(&self, url: &str) -> String {
        assert!(url.contains(Self::PLUGGED), "{url} is not by its address");
        url.replacen(Self::PLUGGED, Self::CABLE, 1)
    }

    /// From now on nothing gets through. A new connection by the cable is refused at once, as where
    /// there is no route.
    pub fn pull(&self) {
        assert!(self.route("add"), "it was plugged in");
    }

    /// From now on everything gets through again.
    pub fn plug_in(&self) {
        assert!(self.route("del"), "it was pulled");
    }

    #[expect(clippy::unused_self, reason = "only who has a network may change it")]
    fn route(&self, change: &str) -> bool {
        let route = format!("{}/32", Self::CABLE);
        run(&["ip", "route", change, "blackhole", &route, "table", "local"])
    }
}

fn run(command: &[&str]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).output();
    output.is_ok_and(|output| output.status.success())
}
