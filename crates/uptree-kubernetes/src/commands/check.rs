//! `SERVICE check`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::json;
use uptree_app::{BoxError, Built, Command, CommandContext, CommandFuture, Exit, Result, help};

use super::{is_set, overlaid};
use crate::{
    check::{Case, Chosen, Finding, choose, judge, known},
    draft::setting,
    objects::Objects,
    pod::{Container, Workload},
    service::Service,
    yaml::MAX_LENGTH,
};

/// `SERVICE check --manifest FILE`: a command that says what in an existing manifest contradicts the
/// service's tree: a grace that is shorter than its stop, a liveness probe that would kill a migration,
/// a missing readiness probe.
///
/// The facade's `main` has it; with [`uptree_app::main_with`] it is to be named. It needs no database
/// and no secret. The tree is the one that the manifest's own variables and arguments make; what they
/// leave open is as it is set for `check` itself.
///
/// The exit code is 0 if nothing is found, and 1 if something is, or if the manifest cannot be read.
///
/// # JSON
///
/// With `--json` the answer is one object on stdout. New members may come, those that are there stay:
/// `command`, `checked` (the workloads that are this service) and `findings`, each with `line`, `place`,
/// `what`, `why` and `help`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Check;

impl Command for Check {
    fn clap(&self) -> clap::Command {
        let option = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).help(help)
        };
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
        clap::Command::new("check")
            .about("Says what in a Kubernetes manifest contradicts the tree")
            .args([
                option("manifest", "FILE", "The manifest, YAML or JSON; - is stdin").required(true),
                option(
                    "name",
                    "NAME",
                    "The workload that is this service [default: by its looks]",
                ),
                option(
                    "container",
                    "NAME",
                    "The container that is [default: by its looks]",
                ),
                json.help("Prints JSON"),
            ])
            .after_help("Exit codes: 0 nothing is found; 1 something is, or it cannot be read")
    }

    fn headings(&self) -> &'static [&'static str] {
        &["HTTP", "Process"]
    }

    fn looks_only(&self) -> bool {
        true
    }

    fn run(&self, matches: &ArgMatches, cx: CommandContext) -> CommandFuture {
        let text = |name| matches.get_one::<String>(name).cloned();
        let file = text("manifest").unwrap_or_default();
        let chosen = Chosen {
            name: text("name"),
            container: text("container"),
        };
        let as_json = matches.get_flag("json");
        Box::pin(async move {
            tokio::select! {
                biased;
                done = check(&file, &chosen, as_json, &cx) => {
                    done.unwrap_or_else(|error| Exit::error(&*error))
                }
                signal = cx.signal() => Exit::interrupted(signal, "the manifest was not read"),
            }
        })
    }
}

async fn check(file: &str, chosen: &Chosen, as_json: bool, cx: &CommandContext) -> Result<Exit> {
    let path = file.to_owned();
    // Nobody may be writing to a pipe.
    let text = tokio::task::spawn_blocking(move || read(&path)).await??;
    let name = if file == "-" { "stdin" } else { file };
    let objects = Objects::read(&text).map_err(|error| format!("{name}: {error}"))?;
    let ours = choose(&objects, chosen, cx.root().id())?;
    let mut cases = Vec::new();
    for (workload, container) in ours {
        let mut question = Question::new((workload, container), cx.built());
        while !question.take(question.ask(cx).await) {}
        cases.push(question.case);
    }
    let findings = judge(&cases, &objects);
    let checked = cases
        .iter()
        .map(|case| format!("{} {}", case.workload.kind, case.workload.name));
    let mut checked: Vec<_> = checked.collect();
    checked.dedup();
    let answer = match as_json {
        true => format!("{:#}\n", as_object(&checked, &findings)),
        false => as_text(name, &checked, &findings),
    };
    // Who closes the pipe has read enough.
    _ = io::stdout().write_all(answer.as_bytes());
    Ok(Exit::answer(u8::from(!findings.is_empty())))
}

fn read(file: &str) -> Result<String> {
    let reader: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin()),
        file => {
            let opened = File::open(file);
            Box::new(opened.map_err(|error| cannot_read(file, &error))?)
        }
    };
    let longest = u64::try_from(MAX_LENGTH).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    // One more tells that it is too long.
    let read = reader
        .take(longest.saturating_add(1))
        .read_to_end(&mut bytes);
    read.map_err(|error| cannot_read(file, &error))?;
    String::from_utf8(bytes).map_err(|_| format!("{file}: it is no text").into())
}

fn cannot_read(file: &str, error: &io::Error) -> BoxError {
    help(
        format!("cannot read {file}: {error}"),
        "give it the path of a manifest, or - for stdin",
    )
}

/// A container that is about to be judged: what the service would be in it is being found out.
pub(crate) struct Question<'a> {
    pub(crate) case: Case<'a>,
    variables: BTreeMap<String, String>,
    words: Vec<String>,
    /// What Kubernetes makes of a `DRAIN_DELAY` that nobody sets.
    delay: Option<String>,
}

impl<'a> Question<'a> {
    pub(crate) fn new((workload, container): (&'a Workload, &'a Container), here: &Built) -> Self {
        let secrets = here.settings.iter().filter(|setting| setting.is_secret);
        let service = Service::of(here);
        let delay = service
            .drains
            .map(|drains| setting(drains.delay_in_kubernetes));
        let case = Case {
            workload,
            container,
            service,
            command: None,
            wrong: Vec::new(),
            secrets: secrets
                .filter_map(|setting| setting.variable.clone())
                .collect(),
        };
        Self {
            case,
            variables: known(container),
            delay: delay.filter(|_| !is_set(here, "DRAIN_DELAY")),
            words: words(container, &program()),
        }
    }

    async fn ask(&self, cx: &CommandContext) -> Option<Result<Built, Vec<String>>> {
        let variables: Vec<_> = self.variables().into_iter().collect();
        cx.built_with(&variables, &self.words).await
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.variables.clone();
        if let Some(delay) = &self.delay {
            let said = variables.entry("DRAIN_DELAY".to_owned()).or_default();
            // One that is empty is not set.
            if said.is_empty() {
                said.clone_from(delay);
            }
        }
        variables
    }

    /// Takes an answer; whether that was the last.
    pub(crate) fn take(&mut self, answer: Option<Result<Built, Vec<String>>>) -> bool {
        match answer {
            Some(Ok(built)) => {
                self.case.service = Service::of(&built);
                self.case.command = built.command;
            }
            Some(Err(wrong)) => {
                let before = self.variables.len();
                let is_good = |name: &str| !wrong.iter().any(|wrong| names(wrong, name));
                self.variables.retain(|name, _| is_good(name));
                self.case.wrong.extend(wrong);
                // Without what is wrong the rest can be looked at too.
                if self.variables.len() < before {
                    return false;
                }
                if !self.words.is_empty() {
                    self.words.clear();
                    return false;
                }
                self.overlay();
            }
            None => self.overlay(),
        }
        true
    }

    fn overlay(&mut self) {
        let variables = self.variables();
        let case = &mut self.case;
        case.service = overlaid(case.service.clone(), &variables);
        let mut words = self.words.iter().filter(|word| !word.starts_with('-'));
        case.command = words.next().filter(|word| *word != "run").cloned();
    }
}

/// Whether a complaint is about this variable.
fn names(complaint: &str, variable: &str) -> bool {
    complaint.split([' ', ':']).next() == Some(variable)
}

/// What the container gives to the service's program, which is called `program`.
fn words(container: &Container, program: &str) -> Vec<String> {
    let all = container.command.iter().chain(&container.args);
    let Some(first) = container.command.first() else {
        return all.cloned().collect();
    };
    let is_called = |word: &str, name: &str| word.rsplit('/').next() == Some(name);
    // Behind an init, perhaps.
    let at = container
        .command
        .iter()
        .position(|word| is_called(word, program));
    let is_shell = ["sh", "bash", "ash", "dash"]
        .iter()
        .any(|name| is_called(first, name));
    match at {
        Some(at) => all.skip(at + 1).cloned().collect(),
        // What a shell makes of its line is not known.
        None if is_shell => Vec::new(),
        None => all.skip(1).cloned().collect(),
    }
}

/// What this program is called.
fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_stem();
    name.unwrap_or_default().to_string_lossy().into_owned()
}

fn as_text(file: &str, checked: &[String], findings: &[Finding]) -> String {
    let checked = checked.join(", ");
    if findings.is_empty() {
        return format!("{file}: nothing contradicts the tree in {checked}\n");
    }
    let shown = |finding: &Finding| {
        let Finding {
            line,
            place,
            what,
            why,
            help,
        } = finding;
        format!("{file}:{line}: {place}: {what}\n  why: {why}\n  help: {help}\n")
    };
    let all: String = findings.iter().map(shown).collect();
    let number = match findings.len() {
        1 => "1 finding".to_owned(),
        number => format!("{number} findings"),
    };
    format!("{all}\n{number} in {checked}\n")
}

fn as_object(checked: &[String], findings: &[Finding]) -> serde_json::Value {
    let findings = findings.iter().map(|finding| {
        json!({
            "line": finding.line,
            "place": finding.place,
            "what": finding.what,
            "why": finding.why,
            "help": finding.help,
        })
    });
    json!({
        "command": "check",
        "checked": checked,
        "findings": findings.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_s_words_are_found_behind_an_init_and_not_in_a_shell() {
        for (container, expected) in [
            ("args: [run]", &["run"][..]),
            ("command: [/shop, run]", &["run"]),
            (
                "command: [/shop]\n      args: [--addr, x]",
                &["--addr", "x"],
            ),
            (
                "command: [/sbin/tini, --, /bin/shop, migrate]\n      args: [up]",
                &["migrate", "up"],
            ),
            ("command: [/other, run]", &["run"]),
            ("command: [/bin/sh, -c, exec shop run]", &[]),
            ("image: x", &[]),
        ] {
            let text =
                format!("kind: Pod\nspec:\n  containers:\n    - name: a\n      {container}\n");
            let pod = crate::workloads(&text).unwrap().remove(0);
            assert_eq!(words(&pod.containers[0], "shop"), expected, "{container}");
        }
    }
}
