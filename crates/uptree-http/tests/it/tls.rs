//! The same over TLS.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, sync::Notify};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};
use tokio_tungstenite::client_async;
use uptree_app::{Supervisor, chain};
use uptree_http::{Endpoint, HttpSettings};

use crate::{
    client::Client,
    http2,
    service::{Service, settings, test},
    websocket,
};

/// A certificate of its own, in files of its own.
struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["test".to_owned()]).expect("a certificate");
        let certificate = Self {
            folder: TempDir::new().expect("a folder"),
            der: cert.der().clone(),
        };
        certificate.write("cert", &cert.pem());
        certificate.write("key", &signing_key.serialize_pem());
        certificate
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).expect("a file");
    }

    fn settings(&self) -> HttpSettings {
        HttpSettings {
            tls_cert: Some(self.path("cert")),
            tls_key: Some(self.path("key")),
            ..settings()
        }
    }

    /// A client that speaks one of these protocols.
    async fn connect(&self, service: &Service, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("two versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let stream = TcpStream::connect(service.addr).await.expect("it listens");
        let name = ServerName::try_from("test").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.expect("a handshake")
    }
}

#[test]
fn http_is_spoken_as_the_client_asks_for_it() {
    test(async {
        let certificate = Certificate::new();
        let service = Service::start(certificate.settings(), websocket::routes()).await;
        for protocols in [&["http/1.1"][..], &[]] {
            let stream = certificate.connect(&service, protocols).await;
            let mut client = Client::over(stream);
            assert_eq!(client.get("/alive").await.body, "alive");
            assert_eq!(client.get("/hello").await.body, "hello");
        }
        let stream = certificate.connect(&service, &["h2", "http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let client = http2::Client::over(stream).await;
        let ready = client.get("/ready").await.expect("a response");
        assert_eq!(ready, (StatusCode::OK, "ready".into()));
    });
}

#[test]
fn plain_http_is_told_that_tls_is_spoken() {
    test(async {
        let certificate = Certificate::new();
        let service = Service::start(certificate.settings(), Router::new()).await;
        let mut client = service.connect().await;
        let refused = client.get("/alive").await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.body, "this port speaks TLS: use https://\n");
        client.end().await.expect("FIN, though not all was read");
    });
}

#[test]
fn what_is_no_handshake_is_dropped_and_half_a_one_does_not_hold_up_a_stop() {
    test(async {
        let certificate = Certificate::new();
        let service = Service::start(certificate.settings(), Router::new()).await;
        let mut garbage = TcpStream::connect(service.addr).await.expect("it listens");
        garbage.write_all(&[0x16; 99]).await.expect("it is open");
        let mut rest = Vec::new();
        // An alert, and the end; or a reset.
        let _ = garbage.read_to_end(&mut rest).await;
        let _silent = service.connect().await;
        let mut half = TcpStream::connect(service.addr).await.expect("it listens");
        half.write_all(b"\x16\x03\x01\x02")
            .await
            .expect("it is open");
        let start = std::time::Instant::now();
        service.stop();
        service.stopped().await;
        assert!(start.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn at_a_stop_requests_are_finished_and_the_end_is_a_clean_one() {
    test(async {
        let certificate = Certificate::new();
        let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let routes = http2::routes(&reached, &release);
        let service = Service::start(certificate.settings(), routes).await;
        let stream = certificate.connect(&service, &["http/1.1"]).await;
        let mut one = Client::over(stream);
        one.ask("GET", "/slow").await;
        reached.notified().await;
        let stream = certificate.connect(&service, &["h2"]).await;
        let two = http2::Client::over(stream).await;
        let slow = tokio::spawn(two.get("/slow"));
        reached.notified().await;
        let stream = certificate.connect(&service, &["http/1.1"]).await;
        let mut idle = Client::over(stream);
        idle.get("/alive").await;
        service.stop();
        // TLS says goodbye too: rustls takes it for an error if it does not.
        idle.end().await.expect("a clean end");
        release.notify_one();
        release.notify_one();
        tokio::spawn(async move {
            loop {
                release.notify_one();
                tokio::task::yield_now().await;
            }
        });
        let response = one.response().await;
        assert_eq!((&*response.body, response.closes()), ("slow", true));
        one.end().await.expect("a clean end");
        let (status, _) = slow.await.expect("no panic").expect("a response");
        assert_eq!(status, StatusCode::OK);
        let end = two.connection.await.expect("no panic");
        end.expect("GOAWAY, and a clean end");
        service.stopped().await;
    });
}

#[test]
fn a_client_that_takes_no_notice_is_served_on_until_the_gate_closes() {
    test(async {
        let certificate = Certificate::new();
        let delay = Duration::from_millis(1500);
        let settings = HttpSettings {
            drain_delay: Some(delay),
            ..certificate.settings()
        };
        let service = Service::start(settings, websocket::routes()).await;
        let stream = certificate.connect(&service, &["http/1.1"]).await;
        let mut client = Client::over(stream);
        client.get("/hello").await;
        let start = std::time::Instant::now();
        service.stop();
        let mut told = 0;
        while start.elapsed() < delay {
            let response = client.get("/hello").await;
            assert_eq!((response.status, &*response.body), (200, "hello"));
            told += u32::from(response.closes());
        }
        assert!((1..=2).contains(&told), "{told}");
        client.end().await.expect("a clean end");
        service.stopped().await;
    });
}

#[test]
fn a_response_that_the_client_is_slow_to_take_is_not_lost() {
    test(async {
        // More than the sockets, TLS and HTTP buffer.
        const LONG: usize = 8 << 20;
        let certificate = Certificate::new();
        let routes = Router::new().route("/long", get(|| async { "x".repeat(LONG) }));
        let service = Service::start(certificate.settings(), routes).await;
        let stream = certificate.connect(&service, &["http/1.1"]).await;
        let mut client = Client::over(stream);
        client.ask("GET", "/long").await;
        client.head().await.expect("a head");
        service.stop();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let body = client.take(LONG).await.expect("all of it");
        assert_eq!(body.len(), LONG);
        client.end().await.expect("a clean end");
        service.stopped().await;
    });
}

#[test]
fn a_websocket_is_told_and_one_that_does_not_end_is_cut() {
    test(async {
        let certificate = Certificate::new();
        let settings = HttpSettings {
            drain_limit: Duration::from_millis(500),
            ..certificate.settings()
        };
        let service = Service::start(settings, websocket::routes()).await;
        let stream = certificate.connect(&service, &["http/1.1"]).await;
        let shaken = client_async("wss://test/polite", stream).await;
        let (mut polite, _) = shaken.expect("a websocket");
        websocket::echoes(&mut polite).await;
        let stream = certificate.connect(&service, &["http/1.1"]).await;
        let shaken = client_async("wss://test/stubborn", stream).await;
        let (mut stubborn, _) = shaken.expect("a websocket");
        websocket::echoes(&mut stubborn).await;
        service.stop();
        websocket::is_left(&mut polite).await;
        let end = futures_util::StreamExt::next(&mut stubborn).await;
        assert!(matches!(end, Some(Err(_))), "{end:?}");
        service.stopped().await;
    });
}

#[test]
fn what_cannot_be_used_is_told_before_the_boot_with_what_to_do() {
    test(async {
        let good = Certificate::new();
        let other = Certificate::new();
        good.write("empty", "");
        good.write(
            "broken",
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n",
        );
        let bogus = KeyPair::generate().expect("a key").serialize_pem();
        good.write("bogus", &bogus.replace("PRIVATE KEY", "CERTIFICATE"));
        let (cert, key) = (good.path("cert"), good.path("key"));
        for (cert, key, expected) in [
            (
                Some(cert.clone()),
                None,
                "TLS_CERT is set, and TLS_KEY is not",
            ),
            (
                None,
                Some(key.clone()),
                "TLS_KEY is set, and TLS_CERT is not",
            ),
            (
                Some(good.path("no")),
                Some(key.clone()),
                "cannot read TLS_CERT, ",
            ),
            (
                Some(cert.clone()),
                Some(good.path("no")),
                "cannot read TLS_KEY, ",
            ),
            (
                Some(good.path("empty")),
                Some(key.clone()),
                "there is no certificate in TLS_CERT, ",
            ),
            (
                Some(key.clone()),
                Some(key.clone()),
                "there is no certificate in TLS_CERT, ",
            ),
            (
                Some(cert.clone()),
                Some(cert.clone()),
                "there is no private key in TLS_KEY, ",
            ),
            (
                Some(cert.clone()),
                Some(good.path("broken")),
                "there is no private key in TLS_KEY, ",
            ),
            (
                Some(cert),
                Some(other.path("key")),
                "the key in TLS_KEY is not that of the certificate in TLS_CERT",
            ),
            (
                Some(good.path("bogus")),
                Some(key),
                "the certificate in TLS_CERT, or the key in TLS_KEY, cannot be used",
            ),
        ] {
            let settings = HttpSettings {
                tls_cert: cert,
                tls_key: key,
                ..settings()
            };
            let endpoint = Endpoint::new(&settings);
            let started = Supervisor::new("service").child(endpoint).start().await;
            let error = chain(&*started.expect_err(expected));
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("help: "), "{error}");
            assert!(!error.contains("c2Vj"), "{error}");
        }
    });
}
