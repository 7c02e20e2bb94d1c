//! `SERVICE plan`: the tree with its timeouts, before anything runs.

use std::{fmt::Write, io::Write as _, time::Duration};

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};
use uptree_supervisor::{
    AutoShutdown, Backoff, ChildSpec, Options, Restart, Shutdown, Strategy, Supervision,
};

use crate::{
    App, Built, Command, CommandContext, CommandFuture, Drains, Exit, Listens, Migrates,
    ProcessSettings, chain, process::TO_REPORT,
};

/// `SERVICE plan`: a command that prints the tree with its restart types, timeouts, strategies and
/// stop budget. It starts nothing, and needs no database and no secret.
///
/// The facade's `main` has it; with [`main_with`](crate::main_with) it is to be named.
///
/// The exit code is 0 if the service would begin to boot, and 1 if something is wrong with its
/// list, or its stop budget is not known.
///
/// # JSON
///
/// With `--json` the answer is one object on stdout. New members may come, those that are there
/// stay: `command`, `stop_budget_ms` (`STOP_BUDGET`, or what the children need), `needed_ms` (what the
/// children need), `faults` (texts) and `children`, each with `path`, `type` (`worker`, `supervisor`),
/// `restart`, `start_timeout_ms`, `stop_ms`, `cancel_grace_ms` and `notes` (texts). A time without a
/// limit is null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan;

impl Command for Plan {
    fn clap(&self) -> clap::Command {
        let json = Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Prints JSON");
        clap::Command::new("plan")
            .about("Prints the tree with its timeouts, and starts nothing")
            .arg(json)
            .after_help(
                "Exit codes: 0 the service would begin to boot; 1 something is wrong with its list, \
                 or its stop budget is not known",
            )
    }

    fn headings(&self) -> &'static [&'static str] {
        &["Process"]
    }

    fn looks_only(&self) -> bool {
        true
    }

    fn run(&self, matches: &ArgMatches, cx: CommandContext) -> CommandFuture {
        let as_json = matches.get_flag("json");
        Box::pin(async move {
            let built = cx.built();
            let answer = match as_json {
                true => format!("{:#}\n", as_object(built)),
                false => as_text(built),
            };
            // Who closes the pipe has read enough.
            _ = std::io::stdout().write_all(answer.as_bytes());
            verdict(built)
        })
    }
}

impl Built {
    /// The service that an app is, with these settings of the process: for tests of commands.
    pub fn new(app: App, process: ProcessSettings) -> Self {
        Self {
            root: app.into_root(),
            process,
            settings: Vec::new(),
            command: None,
        }
    }

    /// How long its stop may take: `STOP_BUDGET`, or what the children need. `None` if neither is
    /// known: then it does not boot.
    pub fn stop_budget(&self) -> Option<Duration> {
        self.process.stop_budget.or(self.root.stop_budget())
    }

    /// The shortest `STOP_BUDGET` in whole seconds with which every child has its whole time, and
    /// the process some to tell of the end. `None` if a child's stop has no limit.
    pub fn needed_budget(&self) -> Option<Duration> {
        let needed = self.root.stop_budget()?.checked_add(TO_REPORT)?;
        let seconds = needed.as_secs();
        let more = u64::from(needed.subsec_nanos() > 0);
        seconds.checked_add(more).map(Duration::from_secs)
    }

    /// How long a start of this child may be without progress. `None` if there is no limit, as of a
    /// supervisor, whose children have their own.
    pub fn start_timeout(&self, child: &ChildSpec) -> Option<Duration> {
        let own = child.options().start_timeout;
        let timeout = own.unwrap_or(self.process.start_timeout);
        (timeout != Duration::MAX).then_some(timeout)
    }
}

fn verdict(built: &Built) -> Exit {
    let faults = built.root.check();
    let mut faults: Vec<_> = faults.iter().map(|fault| chain(fault)).collect();
    if built.stop_budget().is_none() {
        let endless = endless(&built.root).unwrap_or_default();
        faults.push(format!(
            "error: {endless}: its stop has no limit of its own\n  help: set STOP_BUDGET, or give \
             the child a `Shutdown::Timeout`"
        ));
    }
    match faults.is_empty() {
        true => Exit::clean(),
        false => Exit::failed(Exit::BOOT, faults.join("\n")),
    }
}

/// The first child whose stop has no limit, and that has none below it to blame.
fn endless(root: &ChildSpec) -> Option<String> {
    let mut all = root
        .walk()
        .filter(|(_, child)| child.stop_budget().is_none());
    let (path, _) = all.find(|(_, child)| {
        let mut below = child.children().unwrap_or_default().iter();
        below.all(|child| child.stop_budget().is_some())
    })?;
    Some(path)
}

fn as_text(built: &Built) -> String {
    let rows: Vec<_> = built
        .root
        .walk()
        .map(|(path, child)| row(built, &path, child))
        .collect();
    let head = ["child", "restart", "start", "stop"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().map(|(cells, _)| cells[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let [first, second, third, fourth] = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    let none = String::new();
    let head = [(&head, &none)].into_iter();
    for (cells, notes) in head.chain(rows.iter().map(|(cells, notes)| (cells, notes))) {
        let [child, restart, start, stop] = cells;
        let line =
            format!("{child:first$}  {restart:second$}  {start:>third$}  {stop:>fourth$}  {notes}");
        _ = writeln!(text, "{}", line.trim_end());
    }
    _ = writeln!(text, "\nstarts from the top, stops from the bottom");
    text + &budget_line(built)
}

fn row(built: &Built, path: &str, child: &ChildSpec) -> ([String; 4], String) {
    let depth = path.matches('/').count();
    let cells = [
        format!("{}{}", "  ".repeat(depth), child.id()),
        match depth {
            0 => String::new(),
            _ => restart(child.options().restart).to_owned(),
        },
        match (built.start_timeout(child), child.children()) {
            (Some(limit), _) => format!("{limit:?}"),
            (None, Some(_)) => String::new(),
            (None, None) => "no limit".to_owned(),
        },
        limit(child.stop_budget()),
    ];
    (cells, notes(child).join(", "))
}

/// The sum, as it comes about.
fn budget_line(built: &Built) -> String {
    let children = built.root.children().unwrap_or_default();
    let parts = children
        .iter()
        .rev()
        .filter(|child| child.stop_budget() != Some(Duration::ZERO));
    let parts: Vec<_> = parts
        .map(|child| format!("{} {}", child.id(), limit(child.stop_budget())))
        .collect();
    let needed = built.root.stop_budget();
    let mut line = "stop budget: ".to_owned();
    if !parts.is_empty() {
        _ = write!(line, "{} = ", parts.join(" + "));
    }
    _ = writeln!(line, "{}", limit(needed));
    if let Some(set) = built.process.stop_budget {
        let is_less = needed.is_none_or(|needed| set < needed);
        let less = match (is_less, needed) {
            (true, Some(_)) => ": less than that, so that the children have less than their time",
            _ => "",
        };
        _ = writeln!(line, "STOP_BUDGET: {set:?}{less}");
    }
    line
}

fn limit(limit: Option<Duration>) -> String {
    limit.map_or_else(|| "no limit".to_owned(), time)
}

fn time(time: Duration) -> String {
    match time.is_zero() {
        true => "0s".to_owned(),
        false => format!("{time:?}"),
    }
}

fn restart(restart: Restart) -> &'static str {
    match restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    }
}

/// What there is to say of a child beyond the columns.
fn notes(child: &ChildSpec) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(supervision) = child.fact::<Supervision>() {
        notes.extend(supervises(&supervision));
    }
    notes.extend(options(child.options(), child.children().is_some()));
    if let Some(Listens { addr, tls }) = child.fact() {
        notes.push(format!(
            "listens on {addr}{}",
            if tls { " by TLS" } else { "" }
        ));
    }
    if let Some(Migrates { applies, .. }) = child.fact() {
        let what = if applies {
            "migrates"
        } else {
            "waits for another's migrations"
        };
        notes.push(what.to_owned());
    }
    if let Some(drains) = child.fact::<Drains>() {
        let Drains {
            delay,
            delay_in_kubernetes,
            limit,
        } = drains;
        let there = match delay == delay_in_kubernetes {
            true => String::new(),
            false => format!(" ({} in Kubernetes)", time(delay_in_kubernetes)),
        };
        let (delay, limit) = (time(delay), time(limit));
        notes.push(format!("drains: delay {delay}{there}, limit {limit}"));
    }
    notes
}

fn supervises(supervision: &Supervision) -> Vec<String> {
    let Supervision {
        strategy,
        max_restarts,
        max_seconds,
        backoff,
        ..
    } = supervision;
    let kind = match strategy {
        Some(Strategy::OneForOne) => "one_for_one",
        Some(Strategy::OneForAll) => "one_for_all",
        Some(Strategy::RestForOne) => "rest_for_one",
        None if supervision.is_dynamic => "dynamic",
        None => "together",
    };
    let mut notes = vec![
        kind.to_owned(),
        format!("{max_restarts} restarts in {max_seconds:?}"),
    ];
    notes.extend(backoff.map(|backoff| spacing(&backoff)));
    match supervision.auto_shutdown {
        AutoShutdown::Never => {}
        AutoShutdown::AnySignificant => notes.push("ends with any significant child".to_owned()),
        AutoShutdown::AllSignificant => notes.push("ends with its significant children".to_owned()),
    }
    notes
}

fn options(options: &Options, is_supervisor: bool) -> Vec<String> {
    let mut notes = Vec::new();
    match options.shutdown {
        Shutdown::BrutalKill => notes.push("killed at a stop".to_owned()),
        Shutdown::Timeout(limit) if is_supervisor => notes.push(format!("killed after {limit:?}")),
        Shutdown::Timeout(_) | Shutdown::Infinity => {}
    }
    let grace = options.grace();
    if !grace.is_zero() && grace != Duration::MAX {
        notes.push(format!("cancel {grace:?}"));
    }
    if options.significant {
        notes.push("significant".to_owned());
    }
    notes.extend(options.own_backoff().map(|backoff| spacing(&backoff)));
    notes.extend(
        options
            .ready_grace()
            .map(|grace| format!("gates ready after {grace:?}")),
    );
    notes
}

fn spacing(backoff: &Backoff) -> String {
    let Backoff {
        initial,
        max,
        reset_after,
        ..
    } = backoff;
    format!("backoff {initial:?} to {max:?} until up for {reset_after:?}")
}

fn as_object(built: &Built) -> Value {
    let children = built.root.walk().map(|(path, child)| {
        json!({
            "path": path,
            "type": match child.children() {
                Some(_) => "supervisor",
                None => "worker",
            },
            "restart": restart(child.options().restart),
            "start_timeout_ms": built.start_timeout(child).map(millis),
            "stop_ms": child.stop_budget().map(millis),
            "cancel_grace_ms": match child.options().grace() {
                Duration::MAX => None,
                grace => Some(millis(grace)),
            },
            "notes": notes(child),
        })
    });
    let faults = built.root.check();
    json!({
        "command": "plan",
        "stop_budget_ms": built.stop_budget().map(millis),
        "needed_ms": built.root.stop_budget().map(millis),
        "faults": faults.iter().map(|fault| chain(fault)).collect::<Vec<_>>(),
        "children": children.collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
