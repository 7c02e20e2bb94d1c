//! Where the admin port is.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    str::FromStr,
};

use uptree_app::settings::Secret;

use crate::settings::address;

/// Where the admin port is if nobody says.
pub(super) const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4001));

/// The settings of what an operator looks at.
#[derive(clap::Args, Clone, Debug, Default, Eq, PartialEq)]
#[command(next_help_heading = "HTTP")]
pub struct AdminSettings {
    /// Address of the admin port (`/metrics`, `/tree`, `/timeline`), or off [default:
    /// 127.0.0.1:4001, if it is free]
    #[arg(long, env, value_name = "ADDRESS", value_parser = admin_addr)]
    pub admin_addr: Option<AdminAddr>,

    /// What a client of the admin port must know, unless that is on a loopback address
    #[arg(long, env, value_name = "TOKEN", hide_env_values = true, value_parser = token)]
    pub admin_token: Option<Secret>,

    /// Address of a port that has `/metrics` alone, for anybody [default: none]
    #[arg(long, env, value_name = "ADDRESS", value_parser = address)]
    pub metrics_addr: Option<SocketAddr>,
}

/// Where the admin port is, if anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AdminAddr {
    /// There is none.
    Off,
    /// There, or the endpoint does not start.
    At(SocketAddr),
}

impl FromStr for AdminAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => match text.parse() {
                Ok(addr) => Ok(Self::At(addr)),
                Err(_) => {
                    Err("takes an IP address and a port, such as 127.0.0.1:4001, or off".to_owned())
                }
            },
        }
    }
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(addr) => addr.fmt(f),
        }
    }
}

fn admin_addr(text: &str) -> Result<AdminAddr, String> {
    text.parse()
}

/// A token that is not soon guessed.
fn token(text: &str) -> Result<Secret, String> {
    const SHORTEST: usize = 16;
    match text.len() {
        SHORTEST.. => Ok(Secret::new(text)),
        _ => Err(format!("takes at least {SHORTEST} characters")),
    }
}
