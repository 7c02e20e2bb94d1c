//! What systemd is told, on a socket of the test's own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uptree_tests::http::Connection;
use uptree_tests::{Ended, Service, Signal, free_addr};

const LONG: Duration = Duration::from_secs(40);

/// A service and the socket that it tells.
struct Notified {
    service: Service,
    addr: SocketAddr,
    socket: UnixDatagram,
    _folder: TempDir,
    heard: Vec<String>,
}

impl Notified {
    fn spawn(envs: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("it can be made");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("it is free");
        socket
            .set_read_timeout(Some(LONG))
            .expect("it is a timeout");
        let addr = free_addr();
        let envs = envs
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let envs = envs.chain([
            ("ADDR", addr.to_string()),
            ("NOTIFY_SOCKET", path.display().to_string()),
        ]);
        Self {
            service: Service::spawn("stall", envs),
            addr,
            socket,
            _folder: folder,
            heard: Vec::new(),
        }
    }

    /// The next message.
    #[track_caller]
    fn next(&mut self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("a message");
        let text = String::from_utf8_lossy(&bytes[..count])
            .trim_end()
            .to_owned();
        self.heard.push(text.clone());
        text
    }

    /// Reads on until this is said.
    #[track_caller]
    fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        loop {
            let text = self.next();
            if is_it(&text) {
                return text;
            }
        }
    }

    fn order(&self, what: &str) {
        let mut client = Connection::open(self.addr).expect("it listens");
        let request = format!("POST {what} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n");
        client.send(request.as_bytes()).expect("it is open");
        let timeout = client.set_timeout(Duration::from_millis(200));
        timeout.expect("it is a timeout");
        let _ = client.read_response();
    }
}

#[test]
fn systemd_hears_of_the_boot_of_readiness_and_of_the_stop() {
    let mut notified = Notified::spawn(&[("STEPS", "10"), ("START_TIMEOUT", "20s")]);
    let status = notified.until(|text| text.starts_with("STATUS=starting stall/steps: "));
    assert!(status.contains("stair ("), "{status}");
    let extension = notified.until(|text| text.starts_with("EXTEND_TIMEOUT_USEC="));
    assert_eq!(extension, "EXTEND_TIMEOUT_USEC=25000000");
    notified.until(|text| text == "READY=1");
    notified.until(|text| text == "STATUS=running");
    notified.service.signal(Signal::TERM);
    notified.until(|text| text == "STOPPING=1");
    assert_eq!(notified.service.wait(LONG), Ended::Code(0));
    let heard = |word: &str| notified.heard.iter().filter(|text| *text == word).count();
    assert_eq!(
        (heard("READY=1"), heard("STOPPING=1"), heard("WATCHDOG=1")),
        (1, 1, 0)
    );
}

#[test]
fn the_watchdog_of_systemd_hears_from_the_process_only_while_the_runtime_answers() {
    let envs = [("TOKIO_WORKER_THREADS", "1"), ("WATCHDOG_USEC", "2000000")];
    let mut notified = Notified::spawn(&envs);
    notified.until(|text| text == "READY=1");
    for _ in 0..3 {
        notified.until(|text| text == "WATCHDOG=1");
    }
    notified.order("/block/one");
    let blocked = |line: &str| line.contains("the runtime does not answer");
    notified.service.wait_for_line(blocked, LONG);
    // What was sent until then.
    notified.socket.set_nonblocking(true).expect("it can be");
    let mut bytes = [0; 4096];
    while notified.socket.recv(&mut bytes).is_ok() {}
    notified.socket.set_nonblocking(false).expect("it can be");
    let timeout = Some(Duration::from_secs(4));
    notified
        .socket
        .set_read_timeout(timeout)
        .expect("it is a timeout");
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        match notified.socket.recv(&mut bytes) {
            Ok(count) => assert_ne!(&bytes[..count], b"WATCHDOG=1\n"),
            Err(_) => break,
        }
    }
    let release = notified.service.folder().join("release");
    fs::write(release, "").expect("it can be written");
    notified
        .socket
        .set_read_timeout(Some(LONG))
        .expect("it is a timeout");
    notified.until(|text| text == "WATCHDOG=1");
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_hears_nothing() {
    let envs = [("WATCHDOG_PID", "1"), ("WATCHDOG_USEC", "100000")];
    let mut notified = Notified::spawn(&envs);
    notified.until(|text| text == "STATUS=running");
    notified.service.signal(Signal::TERM);
    notified.until(|text| text == "STOPPING=1");
    assert!(!notified.heard.iter().any(|text| text == "WATCHDOG=1"));
}

#[test]
fn a_socket_that_nobody_listens_on_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("it can be made");
    let path = folder.path().join("nobody").display().to_string();
    let envs = [("NOTIFY_SOCKET", path), ("ADDR", free_addr().to_string())];
    let mut service = Service::spawn("stall", envs);
    service.wait_for_line(|line| line.contains("stall/ready ready"), LONG);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0), "{}", service.stderr());
}

#[test]
fn a_manager_that_does_not_read_holds_nothing_up() {
    let envs = [("WATCHDOG_USEC", "20000"), ("STEPS", "5")];
    let mut notified = Notified::spawn(&envs);
    let is_ready = |line: &str| line.contains("stall/ready ready");
    notified.service.wait_for_line(is_ready, LONG);
    // The queue of a datagram socket has room for some hundreds at most.
    std::thread::sleep(Duration::from_secs(5));
    notified.service.signal(Signal::TERM);
    assert_eq!(notified.service.wait(LONG), Ended::Code(0));
}
