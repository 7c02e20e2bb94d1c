//! On paused time, over real sockets.

use std::net::SocketAddr;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, time::Instant};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};
use uptree_app::{Supervisor, Tree};

use super::*;
use crate::{Endpoint, HttpSettings, healthcheck::ask};

struct Served {
    folder: TempDir,
    endpoint: Endpoint,
    _tree: Tree,
}

impl Served {
    /// With this certificate.
    async fn start(first: &Renewal) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = |file| Some(folder.path().join(file));
        let settings = HttpSettings {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls_cert: path("cert"),
            tls_key: path("key"),
            ..HttpSettings::default()
        };
        first.write(&folder, true, true);
        let endpoint = Endpoint::new(&settings);
        let tree = Supervisor::new("service").child(endpoint.clone());
        Self {
            _tree: tree.start().await.expect("it boots"),
            endpoint,
            folder,
        }
    }

    async fn connect(&self) -> TcpStream {
        let addr = self.endpoint.local_addr().expect("it runs");
        TcpStream::connect(addr).await.expect("it listens")
    }

    /// Whether a client that trusts this certificate alone can connect.
    async fn uses(&self, certificate: &Renewal) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("two versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("test").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, self.connect().await).await.is_ok()
    }
}

struct Renewal {
    der: CertificateDer<'static>,
    cert: String,
    key: String,
}

impl Renewal {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["test".to_owned()]).expect("a certificate");
        Self {
            der: cert.der().clone(),
            cert: cert.pem(),
            key: signing_key.serialize_pem(),
        }
    }

    fn write(&self, folder: &TempDir, cert: bool, key: bool) {
        for (file, text, is_written) in [("cert", &self.cert, cert), ("key", &self.key, key)] {
            if is_written {
                fs::write(folder.path().join(file), text).expect("a file");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_certificate_is_used_and_half_a_one_is_not() {
    let [first, second] = [Renewal::new(), Renewal::new()];
    let served = Served::start(&first).await;
    assert!(served.uses(&first).await);
    second.write(&served.folder, true, false);
    sleep(3 * LOOK_EVERY).await;
    assert!(served.uses(&first).await, "the key is not there yet");
    second.write(&served.folder, false, true);
    sleep(2 * LOOK_EVERY).await;
    assert!(served.uses(&second).await);
    assert!(!served.uses(&first).await);
    fs::remove_file(served.folder.path().join("key")).expect("a file");
    sleep(3 * LOOK_EVERY).await;
    assert!(
        served.uses(&second).await,
        "a file that is gone changes nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_to_end_in_time() {
    for begin in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let served = Served::start(&Renewal::new()).await;
        let mut client = served.connect().await;
        let start = Instant::now();
        client.write_all(begin).await.expect("it is open");
        let mut rest = Vec::new();
        // Bytes that nobody has read make it a reset.
        let _ = client.read_to_end(&mut rest).await;
        let took = start.elapsed();
        let late = took
            .checked_sub(HANDSHAKE_LIMIT)
            .expect("not before its time");
        assert!(late < Duration::from_millis(5), "{took:?}");
    }
}

#[test]
fn what_is_refused_is_told_once_and_at_the_second_look() {
    let mut refused = Refused::default();
    let mismatch = TlsError::Mismatch;
    refused.note(&mismatch);
    assert!(!refused.told, "the other file may follow");
    refused.note(&mismatch);
    assert!(refused.told);
    refused.note(&TlsError::NotBuiltIn);
    assert!(!refused.told, "it is another");
}

#[tokio::test]
async fn a_healthcheck_asks_by_tls_whatever_the_certificate_says() {
    let served = Served::start(&Renewal::new()).await;
    let addr = served.endpoint.local_addr().expect("it runs");
    let answer = ask(addr, "alive", true).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\nalive"), "{answer}");
    // In the clear it is told what is spoken there.
    let answer = ask(addr, "alive", false).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
}
