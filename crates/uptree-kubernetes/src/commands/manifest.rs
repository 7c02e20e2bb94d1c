//! `SERVICE manifest`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches};
use uptree_app::{
    BoxError, Built, Command, CommandContext, CommandFuture, Exit, Listens, Result, chain, help,
    settings::duration,
};

use super::{is_set, overlaid};
use crate::{
    draft::{Draft, Wanted, setting},
    service::{Service, seconds},
};

/// `SERVICE manifest`: a command that prints what Kubernetes needs to run the service: a Deployment, a
/// Service, a `PodDisruptionBudget`, and a Job that migrates if that is asked for. Their probes and
/// times are those of the service's own tree.
///
/// The facade's `main` has it; with [`uptree_app::main_with`] it is to be named. It needs no database
/// and no secret: secret settings are references to a Secret with the service's name. Those settings
/// that are set otherwise than by default when it runs are set in the Deployment too.
///
/// It refuses where a stop has no limit, or less time than the children may take; and where neither a
/// drain delay nor a preStop hook waits for the removal of the pod's endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manifest;

impl Command for Manifest {
    fn clap(&self) -> clap::Command {
        let option = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).help(help)
        };
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .action(ArgAction::SetTrue)
                .help(help)
        };
        clap::Command::new("manifest")
            .about("Prints Kubernetes manifests whose times are those of the tree")
            .args([
                option(
                    "name",
                    "NAME",
                    "What it is called there [default: as the app]",
                )
                .value_parser(label),
                option("image", "IMAGE", "The image [default: NAME:latest]").value_parser(image),
                option(
                    "namespace",
                    "NAME",
                    "The namespace [default: none is named]",
                )
                .value_parser(label),
                option("replicas", "N", "How many pods")
                    .value_parser(clap::value_parser!(u32).range(1..))
                    .default_value("2"),
                option(
                    "pre-stop",
                    "TIME",
                    "Waits in a preStop hook, rather than in DRAIN_DELAY",
                )
                .value_parser(whole_seconds),
                flag("migration-job", "Migrates in a Job; the pods wait for it"),
                flag("explain", "Says in comments where each number comes from"),
            ])
            .after_help("Exit codes: 0 printed; 1 the tree lacks something that a manifest needs")
    }

    fn headings(&self) -> &'static [&'static str] {
        &["HTTP", "Process"]
    }

    fn looks_only(&self) -> bool {
        true
    }

    fn run(&self, matches: &ArgMatches, cx: CommandContext) -> CommandFuture {
        let name = matches.get_one("name").cloned();
        let name = name.unwrap_or_else(|| as_label(cx.root().id()));
        let wanted = Wanted {
            image: matches
                .get_one("image")
                .cloned()
                .unwrap_or_else(|| format!("{name}:latest")),
            namespace: matches.get_one("namespace").cloned(),
            replicas: matches.get_one("replicas").copied().unwrap_or(2),
            migration_job: matches.get_flag("migration-job"),
            pre_stop: matches.get_one("pre-stop").copied(),
            explain: matches.get_flag("explain"),
            name,
        };
        Box::pin(async move {
            // It may be otherwise where the service runs.
            for fault in cx.root().check() {
                _ = writeln!(
                    io::stderr(),
                    "warning: {}",
                    chain(&fault).trim_start_matches("error: ")
                );
            }
            match print(&wanted, &cx).await {
                Ok(text) => {
                    // Who closes the pipe has read enough.
                    _ = io::stdout().write_all(text.as_bytes());
                    Exit::clean()
                }
                Err(error) => Exit::error(&*error),
            }
        })
    }
}

async fn print(wanted: &Wanted, cx: &CommandContext) -> Result<String> {
    let here = cx.built();
    let variables = variables(wanted, here, &Service::of(here))?;
    let pairs: Vec<_> = variables.clone().into_iter().collect();
    let service = match cx.built_with(&pairs, &[]).await {
        Some(Ok(there)) => Service::of(&there),
        Some(Err(wrong)) => return Err(wrong.join("\n").into()),
        None => overlaid(Service::of(here), &variables),
    };
    draft(wanted, here, &service)
}

/// What the service is set to there, for its tree to be as it will be.
pub(super) fn variables(
    wanted: &Wanted,
    here: &Built,
    service: &Service,
) -> Result<BTreeMap<String, String>> {
    let Listens { addr, .. } = listens(service)?;
    let mut variables = BTreeMap::from([("ADDR".to_owned(), outside(addr).to_string())]);
    if let Some(drains) = service.drains {
        let delay = match (wanted.pre_stop, is_set(here, "DRAIN_DELAY")) {
            (Some(_), _) => Duration::ZERO,
            (None, true) => drains.delay,
            (None, false) => drains.delay_in_kubernetes,
        };
        if wanted.pre_stop.unwrap_or(delay).is_zero() {
            let error = "nothing waits for the removal of the pod's endpoint, which races SIGTERM";
            let remedy = "leave DRAIN_DELAY to its default, or set it or --pre-stop to 5s or more";
            return Err(help(error, remedy));
        }
        variables.insert("DRAIN_DELAY".to_owned(), setting(delay));
    }
    if wanted.migration_job {
        if service.migrator.is_none() {
            let remedy = "leave out --migration-job";
            return Err(help("the list of children has no migrator", remedy));
        }
        variables.insert("MIGRATE".to_owned(), "wait".to_owned());
    }
    Ok(variables)
}

/// The text, for a service as it will be there.
pub(super) fn draft(wanted: &Wanted, here: &Built, service: &Service) -> Result<String> {
    let Listens { addr, .. } = listens(service)?;
    if addr.ip().is_loopback() {
        let remedy = "let the setting ADDR say it, or 0.0.0.0";
        return Err(help(
            format!("it listens on {addr}, which no probe reaches"),
            remedy,
        ));
    }
    let unlimited = || {
        let error = format!("its stop has no limit: {}", service.sum_of_stops());
        help(
            error,
            "set STOP_BUDGET, or give the child a `Shutdown::Timeout`",
        )
    };
    let budget = service.stop_budget().ok_or_else(unlimited)?;
    if let Some(needed) = service.needed_budget.filter(|needed| *needed > budget) {
        let (budget, needed) = (seconds(budget), seconds(needed));
        let error = format!("STOP_BUDGET is {budget}, and the children may take {needed}");
        return Err(help(error, "leave STOP_BUDGET out, or raise it"));
    }
    let grace = service
        .grace(wanted.pre_stop.unwrap_or_default())
        .ok_or_else(unlimited)?;
    let draft = Draft {
        wanted,
        service,
        here,
        port: addr.port(),
        addr: addr.to_string(),
        budget,
        grace,
    };
    Ok(draft.print())
}

fn listens(service: &Service) -> Result<Listens, BoxError> {
    let none = || {
        help(
            "the service has no endpoint",
            "add an `Endpoint` to its list",
        )
    };
    let listens = service.listens.ok_or_else(none)?;
    match listens.addr.port() {
        0 => Err(help(
            "its port is not known",
            "set ADDR to a port of your own",
        )),
        _ => Ok(listens),
    }
}

/// An address that is reached from outside the container.
fn outside(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::UNSPECIFIED.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// What Kubernetes takes for the name of a Service, with room for that of a Job.
fn label(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 50
        && text.chars().all(plain)
        && !text.ends_with('-');
    let name = fits.then(|| text.to_owned());
    name.ok_or("takes lower-case letters, digits and `-`, a letter first, 50 at most")
}

fn as_label(id: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = id.chars().map(plain).take(50).collect();
    let name = name.trim_matches('-');
    label(name).unwrap_or_else(|_| "service".to_owned())
}

fn image(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    let image = fits.then(|| text.to_owned());
    image.ok_or("takes the name of an image, such as registry.example/shop:1.2")
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    match time.subsec_nanos() {
        0 if time.as_secs() <= 3600 => Ok(time),
        _ => Err("takes whole seconds, such as 5s, an hour at most".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_kubernetes_takes() {
        for (text, taken) in [
            ("shop", true),
            ("my-shop2", true),
            ("", false),
            ("2shop", false),
            ("Shop", false),
            ("shop-", false),
            ("sh.op", false),
            ("a b", false),
            (&"a".repeat(51), false),
        ] {
            assert_eq!(label(text).is_ok(), taken, "{text}");
        }
        for (id, name) in [
            ("shop", "shop"),
            ("My_Shop", "my-shop"),
            ("_x_", "x"),
            ("9", "service"),
        ] {
            assert_eq!(as_label(id), name);
        }
    }

    #[test]
    fn a_loopback_address_is_opened() {
        for (addr, expected) in [
            ("127.0.0.1:4000", "0.0.0.0:4000"),
            ("[::1]:80", "[::]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(outside(addr.parse().unwrap()).to_string(), expected);
        }
    }
}
