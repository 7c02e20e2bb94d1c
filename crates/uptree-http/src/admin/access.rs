//! Who may look at what.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::{HeaderValue, Method, Request, header, uri::Authority};
use subtle::ConstantTimeEq;
use uptree_app::settings::Secret;

use super::answer::{Page, Refusal};

/// What a port shows, and to whom.
#[derive(Debug)]
pub(super) enum Access {
    /// Metrics, to anybody.
    Metrics,
    /// Everything, to whoever is on this machine.
    Local {
        /// Who knows it may call the port by any name.
        token: Option<Secret>,
    },
    /// Everything, to whoever knows the token.
    Token(Secret),
    /// Nothing: a token is missing, which is told before anything starts.
    Nobody,
}

impl Access {
    pub(super) fn to_metrics() -> Self {
        Self::Metrics
    }

    /// To all there is, on this address.
    pub(super) fn to_all(addr: SocketAddr, token: Option<Secret>) -> Self {
        match token {
            token if addr.ip().is_loopback() => Self::Local { token },
            Some(token) => Self::Token(token),
            None => Self::Nobody,
        }
    }

    /// What such a port is called in the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Metrics => "metrics port",
            _ => "admin port",
        }
    }

    /// What a request is to be shown.
    pub(super) fn look_up<B>(&self, request: &Request<B>) -> Result<Page, Refusal> {
        let knows = |token: &Secret| knows(request, token);
        match self {
            Self::Metrics => {}
            Self::Local { token } => {
                if !token.as_ref().is_some_and(knows) && !calls_by_address(request) {
                    return Err(Refusal::Misdirected);
                }
            }
            Self::Token(token) if knows(token) => {}
            Self::Token(_) | Self::Nobody => return Err(Refusal::Unauthorized),
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Refusal::NotAllowed);
        }
        let page = Page::at(request.uri().path());
        match (page, self) {
            (Some(page), _) if page == Page::Metrics => Ok(page),
            (Some(page), Self::Local { .. } | Self::Token(_)) => Ok(page),
            _ => Err(Refusal::Unknown),
        }
    }
}

/// Whether the request has the token. Takes as long whatever of it is wrong.
fn knows<B>(request: &Request<B>, token: &Secret) -> bool {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.map(HeaderValue::as_bytes).unwrap_or_default();
    let given = match given.split_at_checked(b"Bearer ".len()) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"Bearer ") => given,
        _ => &[],
    };
    given.ct_eq(token.expose().as_bytes()).into()
}

/// Whether the request calls this machine by an address, or `localhost`. A page of a stranger's
/// that has its own name resolve to this machine gives itself away by that name.
fn calls_by_address<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host = host
        .to_str()
        .ok()
        .and_then(|it| Authority::from_str(it).ok());
    let in_uri = request.uri().authority();
    let all = host.as_ref().into_iter().chain(in_uri);
    host.is_some() && all.map(Authority::host).all(is_address)
}

fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost") || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
}
