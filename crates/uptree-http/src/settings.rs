//! What an operator can set.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use uptree_app::settings::{byte_size, duration};

use crate::{admin::AdminSettings, drain::Drain, limit::BodyLimit, tls::Tls, tls_error::TlsError};

/// The endpoint's settings: each a flag and a variable of the environment.
///
/// # Examples
///
/// ```
/// use clap::Parser;
/// use uptree_http::HttpSettings;
///
/// #[derive(Parser)]
/// struct Settings {
///     #[command(flatten)]
///     http: HttpSettings,
/// }
///
/// let settings = Settings::parse_from(["service", "--addr", "0.0.0.0:80", "--drain-delay", "5s"]);
/// assert_eq!(settings.http.addr.port(), 80);
/// assert_eq!(settings.http.body_limit, 1024 * 1024);
/// ```
#[derive(clap::Args, Clone, Debug, Eq, PartialEq)]
#[command(next_help_heading = "HTTP")]
pub struct HttpSettings {
    /// Address to listen on, for the app's routes and the probes `/alive`, `/ready` and `/started`
    #[arg(long, env, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    #[arg(value_parser = address)]
    pub addr: SocketAddr,

    /// File with the certificate to speak TLS with, in PEM, and its chain after it
    #[arg(long, env, value_name = "FILE", hide = !cfg!(feature = "tls"))]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key, in PEM
    #[arg(long, env, value_name = "FILE", hide = !cfg!(feature = "tls"))]
    pub tls_key: Option<PathBuf>,

    /// The longest body that a request may have; a longer one gets 413
    #[arg(long, env, value_name = "SIZE", default_value = "1MiB", value_parser = byte_size)]
    pub body_limit: usize,

    /// How long requests are served as always at a stop, while `/ready` says 503 [default: 0s; 5s
    /// in Kubernetes]
    #[arg(long, env, value_name = "TIME", value_parser = duration)]
    pub drain_delay: Option<Duration>,

    /// How long requests in flight have to finish at a stop, after the delay
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub drain_limit: Duration,

    /// Whether `/ready` and `/started` name what is missing, or say a word only
    #[arg(long, env, value_name = "ON|OFF", default_value = "on", value_parser = on_or_off())]
    #[arg(action = clap::ArgAction::Set)]
    pub probe_detail: bool,

    /// The admin port, and the one for metrics alone
    #[command(flatten)]
    pub admin: AdminSettings,
}

/// The drain delay where the removal of an endpoint races the stop of what is behind it.
const KUBERNETES_DRAIN_DELAY: Duration = Duration::from_secs(5);

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            addr: (Ipv4Addr::LOCALHOST, 4000).into(),
            tls_cert: None,
            tls_key: None,
            body_limit: 1024 * 1024,
            drain_delay: None,
            drain_limit: Duration::from_secs(10),
            admin: AdminSettings::default(),
            probe_detail: true,
        }
    }
}

impl HttpSettings {
    /// The certificate and its key as they are now, if they are set.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, TlsError> {
        let (set, missing) = match (&self.tls_cert, &self.tls_key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => return Tls::load(cert.clone(), key.clone()).map(Some),
            (Some(_), None) => ("TLS_CERT", "TLS_KEY"),
            (None, Some(_)) => ("TLS_KEY", "TLS_CERT"),
        };
        Err(TlsError::Half { set, missing })
    }

    pub(crate) fn body_limit(&self) -> BodyLimit {
        BodyLimit(self.body_limit)
    }

    /// How a stop drains; and whether its delay is Kubernetes's for want of a setting.
    pub(crate) fn drain(&self, in_kubernetes: bool) -> (Drain, bool) {
        let assumed = self.drain_delay.is_none() && in_kubernetes;
        let otherwise = if assumed {
            KUBERNETES_DRAIN_DELAY
        } else {
            Duration::ZERO
        };
        let drain = Drain {
            delay: self.drain_delay.unwrap_or(otherwise),
            limit: self.drain_limit,
        };
        (drain, assumed)
    }
}

/// Whether the process runs in a pod: the kubelet sets this in every one.
pub(crate) fn in_kubernetes() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn on_or_off() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|text| text == "on")
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "takes an IP address and a port, such as 127.0.0.1:4000, 0.0.0.0:80 or [::]:4000".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        http: HttpSettings,
    }

    fn parse(arguments: &[&str]) -> Result<HttpSettings, String> {
        let arguments = std::iter::once("service").chain(arguments.iter().copied());
        let command = Command::try_parse_from(arguments);
        command
            .map(|command| command.http)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_same_wherever_they_come_from() {
        assert_eq!(parse(&[]), Ok(HttpSettings::default()));
    }

    #[test]
    fn a_bad_value_is_answered_with_what_is_taken() {
        for (argument, takes) in [
            ("--addr=localhost", "takes an IP address and a port"),
            ("--body-limit=much", "1MiB"),
            ("--drain-delay=soon", "500ms"),
            ("--drain-limit=-1s", "500ms"),
            ("--admin-addr=localhost", "127.0.0.1:4001, or off"),
            ("--admin-token=short", "at least 16 characters"),
            ("--metrics-addr=9090", "takes an IP address and a port"),
            ("--probe-detail=yes", "on, off"),
        ] {
            let error = parse(&[argument]).expect_err(argument);
            assert!(error.contains(takes), "{error}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused_and_a_key_without_its_certificate() {
        let refused = |arguments: &[&str]| {
            let settings = parse(arguments).expect("each is well");
            settings.tls().expect_err("one is missing").to_string()
        };
        assert_eq!(
            refused(&["--tls-cert=x"]),
            "TLS_CERT is set, and TLS_KEY is not"
        );
        assert_eq!(
            refused(&["--tls-key=x"]),
            "TLS_KEY is set, and TLS_CERT is not"
        );
    }

    #[test]
    fn the_drain_delay_is_five_seconds_in_kubernetes_unless_it_is_set() {
        let seconds = Duration::from_secs;
        for (set, in_kubernetes, delay, assumed) in [
            (None, false, 0, false),
            (None, true, 5, true),
            (Some(0), true, 0, false),
            (Some(7), true, 7, false),
            (Some(7), false, 7, false),
        ] {
            let settings = HttpSettings {
                drain_delay: set.map(seconds),
                ..HttpSettings::default()
            };
            let (drain, is_assumed) = settings.drain(in_kubernetes);
            assert_eq!(
                (drain.delay, is_assumed),
                (seconds(delay), assumed),
                "{set:?}"
            );
            assert_eq!(drain.longest(), seconds(delay + 10 + 2));
        }
    }
}
