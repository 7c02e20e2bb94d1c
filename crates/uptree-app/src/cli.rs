//! The command line of a service: its settings, which may stand anywhere in it, and its commands.

use std::{collections::HashSet, ffi::OsString, fmt::Write, path::Path};

use clap::{
    Arg, ArgMatches, Args, FromArgMatches,
    builder::{Resettable, StyledStr},
};
use uptree_supervisor::BoxError;

use crate::{
    Command, Exit, ProcessSettings, Setting,
    settings::{self, BadSetting, Read},
};

/// The command that is there without being named.
const RUN: &str = "run";

/// The end of `--help`.
const EXIT_CODES: &str = "Exit codes: 0 stopped in order; 1 did not boot; 2 gave up restarting; \
    3 the stop took too long or accepted work was lost; 130 forced by a third signal. Of a \
    command: 0 done; 1 not done; 143 or 130 ended by SIGTERM or SIGINT before it was done";

/// What a command line says.
pub(crate) struct Line<S> {
    pub(crate) own: S,
    pub(crate) process: ProcessSettings,
    /// Settings that cannot be used: defaults stand in for them.
    pub(crate) bad: Vec<BoxError>,
    /// The command's name and what it is given; none, to run the service.
    pub(crate) command: Option<(String, ArgMatches)>,
    /// The settings, for a command: none, to run the service.
    pub(crate) settings: Vec<Setting>,
}

/// Whether the service's secrets are needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Secrets {
    /// Unless a command is named that only looks at the list.
    Needed,
    /// What is missing has a stand-in.
    StoodInFor,
}

/// Reads the command line and the environment.
pub(crate) fn read<S: Args>(
    commands: &[&dyn Command],
    words: Vec<OsString>,
    secrets: Secrets,
) -> Result<Line<S>, Exit> {
    let name = words.first().map(Path::new);
    let name = name
        .and_then(|path| path.file_stem()?.to_str())
        .unwrap_or("service");
    let command = S::augment_args(clap::Command::new(name.to_owned()));
    let command = ProcessSettings::augment_args(command)
        // The settings' own comments speak to those who write code.
        .about(Resettable::Reset)
        .long_about(Resettable::Reset)
        .after_help(EXIT_CODES);
    // Without a word there is no command to be found, and the service starts sooner.
    let commands = match words.len() {
        0 | 1 => Commands::default(),
        _ => Commands::of(commands),
    };
    let arguments = match commands.all.is_empty() {
        true => Vec::new(),
        false => command.get_arguments().cloned().collect(),
    };
    let (matches, bad) = match settings::read(command, &commands, words, secrets) {
        Read::Matches(matches, bad) => (matches, bad),
        Read::Stop(bad, error) => return Err(stopped(&bad, &error)),
    };
    let parsed = S::from_arg_matches(&matches)
        .and_then(|own| Ok((own, ProcessSettings::from_arg_matches(&matches)?)));
    let (own, process) = parsed.map_err(|error| stopped(&bad, &error))?;
    let chosen = matches.subcommand().filter(|(name, _)| *name != RUN);
    Ok(Line {
        own,
        process,
        bad: bad.into_iter().map(BoxError::from).collect(),
        command: chosen.map(|(name, matches)| (name.to_owned(), matches.clone())),
        settings: arguments
            .iter()
            .map(|arg| Setting::of(arg, &matches))
            .collect(),
    })
}

/// `--help` is an answer, anything else a failure.
fn stopped(bad: &[BadSetting], error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        _ = error.print();
        return Exit::clean();
    }
    let bad = bad.iter().map(|bad| format!("error: {bad}"));
    let mut lines: Vec<_> = bad.collect();
    lines.push(error.to_string().trim_end().to_owned());
    Exit::failed(Exit::BOOT, lines.join("\n"))
}

/// The commands beside the settings.
#[derive(Default)]
pub(crate) struct Commands {
    /// Each with the headings of the settings that its help shows.
    all: Vec<(clap::Command, &'static [&'static str])>,
    /// What the arguments of commands are called: a setting that is called so too has to stand
    /// before the command.
    taken: HashSet<String>,
    /// Those that only look at the list of children.
    looking: HashSet<String>,
}

impl Commands {
    fn of(commands: &[&dyn Command]) -> Self {
        let run = clap::Command::new(RUN).about("Runs the service, as it does without a command");
        let mut all = vec![(run, &[][..])];
        let mut looking = HashSet::new();
        for command in commands {
            let clap = command.clap();
            // The first of a name is the one that is found.
            if all
                .iter()
                .any(|(before, _)| before.get_name() == clap.get_name())
            {
                continue;
            }
            if command.looks_only() {
                looking.insert(clap.get_name().to_owned());
            }
            all.push((clap, command.headings()));
        }
        let mut taken = HashSet::new();
        for (command, _) in &all {
            collect_names(command, &mut taken);
        }
        Self {
            all,
            taken,
            looking,
        }
    }

    /// Whether a command only looks at the list of children.
    pub(crate) fn looks_only(&self, name: &str) -> bool {
        self.looking.contains(name)
    }

    /// Adds the commands to a command that has but settings, and lets these stand after them too.
    pub(crate) fn beside(&self, settings: clap::Command) -> clap::Command {
        let everywhere = settings.get_arguments().filter(|arg| {
            !arg.is_positional() && names(arg).all(|name| !self.taken.contains(&name))
        });
        let everywhere: Vec<Arg> = everywhere.map(alone).collect();
        let is_global = |arg: &Arg| everywhere.iter().any(|it| it.get_id() == arg.get_id());
        let mut whole = settings.mut_args(|arg| match is_global(&arg) {
            true => arg.required(false).global(true),
            false => arg,
        });
        let program = whole.get_name().to_owned();
        for (command, headings) in &self.all {
            let shown = |arg: &Arg| {
                let heading = arg.get_help_heading();
                heading.is_some_and(|heading| headings.contains(&heading))
            };
            let settings = everywhere.iter().cloned();
            let settings: Vec<_> = settings
                .map(|arg| match shown(&arg) {
                    true => arg,
                    false => arg.hide(true),
                })
                .collect();
            let more =
                format!("It takes all settings of the service: `{program} --help` lists them");
            whole = whole.subcommand(with_settings(command.clone(), &settings, &more));
        }
        // clap would list them before the settings.
        let after = whole.get_after_help().map(ToString::to_string);
        let list = self.list(after.as_deref().unwrap_or_default());
        whole
            .mut_subcommands(|command| command.hide(true))
            .override_usage(format!("{program} [OPTIONS] [COMMAND]"))
            .after_help(list)
    }

    fn list(&self, after: &str) -> StyledStr {
        let names = self.all.iter().map(|(command, _)| command.get_name());
        let width = names.map(str::len).max().unwrap_or_default();
        let mut list = "\x1b[1m\x1b[4mCommands:\x1b[0m\n".to_owned();
        for (command, _) in &self.all {
            let name = command.get_name();
            let about = command.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            _ = writeln!(list, "  \x1b[1m{name:width$}\x1b[0m  {about}");
        }
        format!("{list}\n{after}").into()
    }
}

/// Adds settings to a command and to those below it.
fn with_settings(command: clap::Command, settings: &[Arg], more: &str) -> clap::Command {
    let command = command.mut_subcommands(|command| with_settings(command, settings, more));
    let after = match command.get_after_help() {
        Some(after) => format!("{after}\n\n{more}"),
        None => more.to_owned(),
    };
    command.args(settings).after_help(after)
}

/// A setting as it stands among those of a command: what it says of other settings is left to the
/// service itself.
fn alone(arg: &Arg) -> Arg {
    arg.clone()
        .required(false)
        .required_unless_present(Resettable::Reset)
        .requires(Resettable::Reset)
        .conflicts_with(Resettable::Reset)
        .overrides_with(Resettable::Reset)
        .global(true)
}

/// Whatever must be another argument's as well.
fn names(arg: &Arg) -> impl Iterator<Item = String> {
    let id = format!("id {}", arg.get_id());
    let long = arg.get_long_and_visible_aliases().unwrap_or_default();
    let long = long.into_iter().map(|long| format!("--{long}"));
    let short = arg.get_short_and_visible_aliases().unwrap_or_default();
    let short = short.into_iter().map(|short| format!("-{short}"));
    [id].into_iter().chain(long).chain(short)
}

fn collect_names(command: &clap::Command, taken: &mut HashSet<String>) {
    taken.extend(command.get_arguments().flat_map(names));
    for command in command.get_subcommands() {
        collect_names(command, taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandContext, CommandFuture};

    #[derive(Debug, PartialEq, clap::Args)]
    struct Own {
        #[arg(long, default_value = "sqlite:", help_heading = "Database")]
        url: String,
        #[arg(
            long,
            default_value = "4000",
            help_heading = "HTTP",
            conflicts_with = "unix"
        )]
        port: u16,
        #[arg(long, help_heading = "HTTP")]
        unix: bool,
        /// Also what a command calls one of its own.
        #[arg(long, default_value = "none")]
        to: String,
    }

    #[derive(Debug, PartialEq, clap::Args)]
    struct Demanding {
        #[arg(long)]
        key: String,
        #[arg(long)]
        token: String,
    }

    struct Sail;

    impl Command for Sail {
        fn clap(&self) -> clap::Command {
            let to = Arg::new("harbour")
                .long("to")
                .value_parser(clap::value_parser!(u8));
            clap::Command::new("sail")
                .about("Sails somewhere")
                .subcommand_required(true)
                .subcommand(clap::Command::new("out").arg(to))
        }

        fn headings(&self) -> &'static [&'static str] {
            &["Database"]
        }

        fn run(&self, _: &ArgMatches, _: CommandContext) -> CommandFuture {
            Box::pin(async { Exit::clean() })
        }
    }

    fn line<S: Args>(words: &str) -> Result<Line<S>, String> {
        let words = ["shop"].into_iter().chain(words.split_whitespace());
        let words = words.map(OsString::from).collect();
        let line = read::<S>(&[&Sail], words, Secrets::Needed);
        line.map_err(|exit| exit.failure().unwrap_or_default().to_owned())
    }

    fn own(words: &str) -> (Own, Option<u8>) {
        let line = line::<Own>(words).unwrap_or_else(|error| panic!("{words}: {error}"));
        assert!(line.bad.is_empty(), "{words}: {:?}", line.bad);
        let harbour = line.command.and_then(|(name, matches)| {
            assert_eq!(name, "sail");
            let (_, matches) = matches.subcommand()?;
            matches.get_one("harbour").copied()
        });
        (line.own, harbour)
    }

    #[test]
    fn a_setting_stands_before_a_command_and_after_it() {
        for words in [
            "--url pg: --port 1 sail out --to 7",
            "sail --url pg: --port 1 out --to 7",
            "sail out --url=pg: --to=7 --port=1",
            "--url other: --port 1 sail --url pg: out --to 7",
        ] {
            let (own, harbour) = own(words);
            assert_eq!((&*own.url, own.port), ("pg:", 1), "{words}");
            assert_eq!((&*own.to, harbour), ("none", Some(7)), "{words}");
        }
    }

    #[test]
    fn a_setting_with_the_name_of_a_command_s_argument_stands_before_the_command() {
        let (own, harbour) = own("--to me sail out --to 7");
        assert_eq!((&*own.to, harbour), ("me", Some(7)));
    }

    #[test]
    fn no_command_and_run_are_the_same() {
        for words in ["", "run"] {
            let line = line::<Own>(words).unwrap_or_else(|error| panic!("{error}"));
            assert!(line.command.is_none());
        }
        assert_eq!(own("run --port 5").0, own("--port 5").0);
    }

    #[test]
    fn what_is_wrong_is_told_wherever_it_stands() {
        let line = line::<Own>("--port x sail out --start-timeout soon --to 7");
        let line = line.unwrap_or_else(|error| panic!("{error}"));
        let bad: Vec<_> = line.bad.iter().map(ToString::to_string).collect();
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert!(bad[0].starts_with("--port: \"x\""), "{bad:?}");
        assert!(
            bad[1].starts_with("START_TIMEOUT (--start-timeout): \"soon\""),
            "{bad:?}"
        );
        assert_eq!(line.own.port, 4000);
    }

    #[test]
    fn a_line_that_cannot_be_read_says_why() {
        for (words, parts) in [
            ("sale", &["unrecognized subcommand 'sale'", "'sail'"][..]),
            ("sail ouf", &["unrecognized subcommand 'ouf'", "'out'"]),
            ("sail", &["requires a subcommand", "out"]),
            ("sail out --uri x", &["'--uri'", "'--url'"]),
            (
                "--port x sail out --to y",
                &["invalid value 'y'", "--to <harbour>"],
            ),
            ("--port 1 --unix", &["cannot be used with"]),
        ] {
            let error = line::<Own>(words).err();
            let error = error.unwrap_or_else(|| panic!("{words}: no error"));
            for part in parts {
                assert!(error.contains(part), "{words}: {error}");
            }
        }
    }

    #[test]
    fn what_must_be_given_may_stand_anywhere_and_is_missed() {
        for words in [
            "--key k --token t",
            "--key k --token t sail out",
            "--key k sail --token t out",
            "sail out --key k --token t",
        ] {
            let line = line::<Demanding>(words).unwrap_or_else(|error| panic!("{words}: {error}"));
            assert_eq!((&*line.own.key, &*line.own.token), ("k", "t"));
        }
        for words in ["--key k", "sail out --key k", "--key k sail out"] {
            let error = line::<Demanding>(words).err();
            let error = error.unwrap_or_else(|| panic!("{words}: no error"));
            assert!(error.contains("--token <TOKEN>"), "{error}");
            assert!(!error.contains("--key <KEY>\n"), "{error}");
        }
    }

    #[test]
    fn of_two_commands_of_one_name_the_first_is_taken() {
        struct Other;

        impl Command for Other {
            fn clap(&self) -> clap::Command {
                clap::Command::new("sail").subcommand(clap::Command::new("in"))
            }

            fn looks_only(&self) -> bool {
                true
            }

            fn run(&self, _: &ArgMatches, _: CommandContext) -> CommandFuture {
                Box::pin(async { Exit::clean() })
            }
        }

        let commands = Commands::of(&[&Sail, &Other]);
        assert!(!commands.looks_only("sail"));
        let whole = commands.beside(clap::Command::new("shop"));
        whole.clone().debug_assert();
        assert!(
            whole
                .clone()
                .try_get_matches_from(["shop", "sail", "out"])
                .is_ok()
        );
        assert!(whole.try_get_matches_from(["shop", "sail", "in"]).is_err());
    }

    #[test]
    fn a_secret_that_is_missing_is_stood_in_for_where_the_list_is_only_looked_at() {
        #[derive(clap::Args)]
        struct Secretive {
            #[arg(long, hide_env_values = true)]
            number: u16,
            #[arg(long, hide_env_values = true, value_parser = |text: &str| {
                text.starts_with("http").then(|| text.to_owned()).ok_or("takes a URL")
            })]
            url: String,
            #[arg(long)]
            name: String,
        }

        let read = |words: &str, secrets| {
            let words = words.split_whitespace().map(OsString::from).collect();
            let line = read::<Secretive>(&[&Sail], words, secrets);
            line.map_err(|exit| exit.failure().unwrap_or_default().to_owned())
        };
        let error = read("shop --name a run", Secrets::Needed).err();
        let error = error.expect("it needs them");
        assert!(
            error.contains("--number") && error.contains("--url"),
            "{error}"
        );
        let line = read("shop --name a --number 7", Secrets::StoodInFor);
        let line = line.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(line.own.number, 7);
        assert!(line.own.url.starts_with("http") && line.own.name == "a");
        // What shapes the list is not.
        let error = read("shop run", Secrets::StoodInFor).err();
        let error = error.expect("it has no name");
        assert!(
            error.contains("--name") && !error.contains("--url"),
            "{error}"
        );
        // What is given and is wrong is told.
        let error = read("shop --name a --number x", Secrets::StoodInFor).err();
        let error = error.expect("x is no number");
        assert!(
            error.starts_with("error: --number: invalid digit"),
            "{error}"
        );
    }

    #[test]
    fn a_help_has_the_commands_last_and_a_command_s_the_settings_that_matter_to_it() {
        let whole = |words: &[&str]| {
            let settings = Own::augment_args(clap::Command::new("shop")).about(None::<&str>);
            let commands = Commands::of(&[&Sail]);
            let help = commands.beside(settings).try_get_matches_from(words);
            help.map(drop).expect_err("help is no line").to_string()
        };
        let help = whole(&["shop", "--help"]);
        assert!(
            help.starts_with("Usage: shop [OPTIONS] [COMMAND]\n"),
            "{help}"
        );
        let (options, commands) = help
            .split_once("\nCommands:\n")
            .expect("a list of commands");
        assert!(
            options.contains("--url") && options.contains("--port"),
            "{help}"
        );
        let list =
            "  run   Runs the service, as it does without a command\n  sail  Sails somewhere\n";
        assert!(commands.starts_with(list), "{help}");

        let help = whole(&["shop", "sail", "out", "--help"]);
        assert!(
            help.starts_with("Usage: shop sail out [OPTIONS]\n"),
            "{help}"
        );
        assert!(
            help.contains("--url") && help.contains("--to <harbour>"),
            "{help}"
        );
        assert!(!help.contains("--port"), "{help}");
        assert!(help.contains("`shop --help`"), "{help}");
    }
}
