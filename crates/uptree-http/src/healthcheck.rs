//! `SERVICE healthcheck`: asks the service that runs beside it how it is, for want of curl in an
//! image.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::{Arg, ArgMatches, builder::PossibleValuesParser};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uptree_app::{
    BoxError, ChildSpec, Command, CommandContext, CommandFuture, Exit, Listens, Result, help,
    settings::duration,
};

use crate::tls;

/// The longest answer that is read; a probe's is a few lines.
const LONGEST: u64 = 64 * 1024;

/// `SERVICE healthcheck`: a command that asks a probe of the service that runs in the same place,
/// with the same settings, and prints the answer.
///
/// The facade's `main` has it; with [`uptree_app::main_with`] it is to be named. It is for Docker's
/// `HEALTHCHECK` and its like; a kubelet asks by itself. An address that stands for all of them
/// (`0.0.0.0`) is asked by loopback; where TLS is spoken any certificate is taken.
///
/// The exit code is 0 if the answer is 200, and 1 if it is another or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Healthcheck;

impl Command for Healthcheck {
    fn clap(&self) -> clap::Command {
        let probe = Arg::new("probe")
            .long("probe")
            .value_name("PROBE")
            .value_parser(PossibleValuesParser::new(["alive", "ready", "started"]))
            .default_value("alive")
            .help("What to ask. Of what may be killed for the answer ask alive");
        let timeout = Arg::new("timeout")
            .long("timeout")
            .value_name("TIME")
            .value_parser(duration)
            .default_value("3s")
            .help("How long the answer may take");
        let child = Arg::new("child")
            .long("child")
            .value_name("PATH")
            .help("Which endpoint, if the service has several");
        clap::Command::new("healthcheck")
            .about("Asks the service that runs here how it is")
            .args([probe, timeout, child])
            .after_help("Exit codes: 0 the answer is 200; 1 it is another, or there is none")
    }

    fn headings(&self) -> &'static [&'static str] {
        &["HTTP"]
    }

    fn looks_only(&self) -> bool {
        true
    }

    fn run(&self, matches: &ArgMatches, cx: CommandContext) -> CommandFuture {
        let text = |name| matches.get_one::<String>(name).cloned();
        let (probe, child) = (text("probe").unwrap_or_default(), text("child"));
        let limit = matches.get_one("timeout").copied().unwrap_or_default();
        Box::pin(async move {
            let work = check(cx.root(), child.as_deref(), &probe, limit);
            tokio::select! {
                biased;
                done = work => done.unwrap_or_else(|error| Exit::error(&*error)),
                signal = cx.signal() => Exit::interrupted(signal, "there was no answer yet"),
            }
        })
    }
}

async fn check(
    root: &ChildSpec,
    child: Option<&str>,
    probe: &str,
    limit: Duration,
) -> Result<Exit> {
    let (path, Listens { addr, tls }) = listener(root, child)?;
    let addr = reachable(addr);
    if addr.port() == 0 {
        let remedy = "set ADDR to a port of your own";
        return Err(help(format!("{path}: its port is not known"), remedy));
    }
    let asked = format!("{path}: /{probe} at {addr}");
    let answer = match timeout(limit, ask(addr, probe, tls)).await {
        Ok(answer) => answer.map_err(|source| Failure {
            asked: asked.clone(),
            source,
        })?,
        Err(_) => return Err(format!("{asked}: no answer within {limit:?}").into()),
    };
    let (status, body) = read(&answer).ok_or_else(|| format!("{asked}: the answer is no HTTP"))?;
    // Who closes the pipe has read enough.
    _ = writeln!(io::stdout(), "{}", body.trim_end());
    match status {
        200 => Ok(Exit::clean()),
        status => Err(format!("{asked}: the answer is {status}").into()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{asked}: no answer")]
struct Failure {
    asked: String,
    source: io::Error,
}

/// The one that `child` names, or the only one.
fn listener(root: &ChildSpec, child: Option<&str>) -> Result<(String, Listens), BoxError> {
    let all = root
        .walk()
        .filter_map(|(path, spec)| Some((path, spec.fact::<Listens>()?)));
    let all: Vec<_> = all.collect();
    let is_it = |path: &str| {
        child.is_none_or(|child| path == child || path.rsplit('/').next() == Some(child))
    };
    let mut found = all.iter().filter(|(path, _)| is_it(path));
    let paths: Vec<_> = all.iter().map(|(path, _)| &**path).collect();
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found.clone()),
        (Some(_), Some(_)) => {
            let remedy = format!("name one with --child: {}", paths.join(", "));
            Err(help("the service has several endpoints", remedy))
        }
        (None, _) if paths.is_empty() => Err(help(
            "the service has no endpoint",
            "add an `Endpoint` to its list",
        )),
        (None, _) => {
            let remedy = format!("these are: {}", paths.join(", "));
            let child = child.unwrap_or_default();
            Err(help(format!("{child} is no endpoint"), remedy))
        }
    }
}

/// Where a service is reached from where it runs.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

pub(crate) async fn ask(addr: SocketAddr, probe: &str, tls: bool) -> io::Result<Vec<u8>> {
    let tcp = TcpStream::connect(addr).await?;
    let request = format!(
        "GET /{probe} HTTP/1.1\r\nhost: {addr}\r\nuser-agent: healthcheck\r\n\
         accept: text/plain\r\nconnection: close\r\n\r\n"
    );
    match tls {
        true => exchange(tls::connect(tcp, addr.ip()).await?, &request).await,
        false => exchange(tcp, &request).await,
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(LONGEST).read_to_end(&mut answer).await {
        // What came before the end may be an answer all the same.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// The status and the body of an answer.
fn read(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use uptree_app::{IntoChild, Supervisor};

    use super::*;
    use crate::{Endpoint, HttpSettings};

    fn endpoint(addr: SocketAddr, id: &'static str) -> ChildSpec {
        let settings = HttpSettings {
            addr,
            ..HttpSettings::default()
        };
        Endpoint::new(&settings).with_id(id)
    }

    /// What comes of a check of a server that says all of this to whoever connects.
    async fn checked(answer: &'static str) -> Result<Exit, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.expect("it asks");
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(request.starts_with("GET /ready HTTP/1.1\r\n"), "{request}");
            _ = stream.write_all(answer.as_bytes()).await;
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
        });
        let root = Supervisor::new("shop")
            .child(endpoint(addr, "endpoint"))
            .into_child();
        let limit = match answer.is_empty() {
            true => Duration::from_millis(50),
            false => Duration::from_secs(20),
        };
        let done = check(&root, None, "ready", limit).await;
        let addr = addr.to_string();
        done.map_err(|error| uptree_app::chain(&*error).replace(&addr, "ADDR"))
    }

    #[tokio::test]
    async fn the_answer_decides() {
        let told = |text: &str| Err(format!("error: shop/endpoint: /ready at ADDR: {text}"));
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\nready\n", Ok(0)),
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\nstarting\n",
                told("the answer is 503"),
            ),
            ("HTTP/1.1 302 Found\r\n\r\n", told("the answer is 302")),
            ("SSH-2.0-x\r\n", told("the answer is no HTTP")),
            ("HTTP/1.1 2", told("the answer is no HTTP")),
            ("", told("no answer within 50ms")),
        ] {
            let done = checked(answer).await.map(|exit| exit.code());
            assert_eq!(done, expected, "{answer}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_cause() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        drop(listener);
        let root = Supervisor::new("shop")
            .child(endpoint(addr, "endpoint"))
            .into_child();
        let done = check(&root, None, "alive", Duration::from_secs(9)).await;
        let error = uptree_app::chain(&*done.expect_err("nobody is there"));
        let expected = format!("error: shop/endpoint: /alive at {addr}: no answer\n  caused by: ");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn an_endpoint_is_found_in_the_list_of_children() {
        let addr = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let tree = |ids: &[&'static str]| {
            let all = ids.iter().map(|id| endpoint(addr(80), id));
            Supervisor::new("shop").children(all).into_child()
        };
        for (ids, child, expected) in [
            (&["a"][..], None, "shop/a"),
            (&["a", "b"], Some("b"), "shop/b"),
            (&["a", "b"], Some("shop/a"), "shop/a"),
            (&["a", "b"], None, "the service has several endpoints"),
            (&["a"], Some("b"), "b is no endpoint"),
            (&[], None, "the service has no endpoint"),
        ] {
            let found = match listener(&tree(ids), child) {
                Ok((path, _)) => path,
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn all_addresses_are_asked_by_loopback() {
        for (addr, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            let addr: SocketAddr = addr.parse().expect("an address");
            assert_eq!(reachable(addr).to_string(), expected);
        }
    }

    #[test]
    fn the_arguments_are_well_formed() {
        Healthcheck.clap().debug_assert();
    }
}
