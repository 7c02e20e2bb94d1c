//! `SERVICE check`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
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
}

impl<'a> Question<'a> {
    pub(crate) fn new((workload, container): (&'a Workload, &'a Container), here: &Built) -> Self {
        let secrets = here.settings.iter().filter(|setting| setting.is_secret);
        let service = Service::of(here);
        let mut variables = known(container);
        let in_kubernetes = service.drains.map(|drains| drains.delay_in_kubernetes);
        if let Some(delay) = in_kubernetes.filter(|_| !is_set(here, "DRAIN_DELAY")) {
            let said = variables.entry("DRAIN_DELAY".to_owned()).or_default();
            // One that is empty is not set.
            if said.is_empty() {
                *said = setting(delay);
            }
        }
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
            variables,
            words: words(container),
        }
    }

    async fn ask(&self, cx: &CommandContext) -> Option<Result<Built, Vec<String>>> {
        let variables: Vec<_> = self.variables.clone().into_iter().collect();
        cx.built_with(&variables, &self.words).await
    }

    /// Takes an answer; whether that was the last.
    pub(crate) fn take(&mut self, answer: Option<Result<Built, Vec<String>>>) -> bool {
        let case = &mut self.case;
        match answer {
            Some(Ok(built)) => {
                case.service = Service::of(&built);
                case.command = built.command;
            }
            Some(Err(wrong)) => {
                let before = self.variables.len();
                let is_good = |name: &str| !wrong.iter().any(|wrong| names(wrong, name));
                self.variables.retain(|name, _| is_good(name));
                case.wrong.extend(wrong);
                // Without what is wrong the rest can be looked at too.
                return self.variables.len() == before;
            }
            None => {
                case.service = overlaid(case.service.clone(), &self.variables);
                let mut words = self.words.iter().filter(|word| !word.starts_with('-'));
                case.command = words.next().filter(|word| *word != "run").cloned();
            }
        }
        true
    }
}

/// Whether a complaint is about this variable.
fn names(complaint: &str, variable: &str) -> bool {
    complaint.split([' ', ':']).next() == Some(variable)
}

/// What the container gives to the service's program.
fn words(container: &Container) -> Vec<String> {
    let program = container
        .command
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    // What a shell makes of its line is not known.
    if program
        .rsplit('/')
        .next()
        .is_some_and(|name| name.ends_with("sh"))
    {
        return Vec::new();
    }
    let behind = container.command.iter().skip(1);
    behind.chain(&container.args).cloned().collect()
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
