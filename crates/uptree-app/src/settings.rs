//! Settings: value parsers, and a reader that finds every bad value, not just the first.
//!
//! A setting is a flag and an environment variable, declared with `clap`. A secret one, which is
//! one with `hide_env_values`, is also read from the file that `NAME_FILE` names.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    time::Duration,
};

use clap::{
    Arg, ArgMatches, Command,
    builder::{PossibleValuesParser, Resettable, TypedValueParser, ValueParser},
    parser::ValueSource,
};

use crate::{
    LogFormat, Spans,
    cli::{Commands, Secrets},
};

/// What every process takes, beside the settings of its own.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Process")]
#[non_exhaustive]
pub struct ProcessSettings {
    /// How long a child may take to start, counted from its last progress
    #[arg(long, env, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub start_timeout: Duration,

    /// How long a stop may take before the process exits with 3 [default: what the children need]
    #[arg(long, env, value_name = "TIME", value_parser = duration)]
    pub stop_budget: Option<Duration>,

    /// For how long the runtime may not answer before every request gets 503; or off
    #[arg(long, env, value_name = "TIME", default_value = "30s", value_parser = stall_limit)]
    pub stall_limit: StallLimit,

    /// How log lines look
    #[arg(long, env, value_name = "FORMAT", default_value = "pretty", value_parser = log_format())]
    pub log_format: LogFormat,

    /// Which log lines to print, in tracing-subscriber's syntax
    #[arg(
        long = "rust-log",
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    #[arg(value_parser = log_filter)]
    pub log_filter: String,

    /// Which spans there are for a tracing layer of the program's: of boot and stop, or of every
    /// child's life too
    #[arg(long, env, value_name = "SPANS", default_value = "off", value_parser = spans())]
    pub spans: Spans,
}

impl Default for ProcessSettings {
    /// What they are if neither a flag nor the environment says otherwise.
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(60),
            stop_budget: None,
            stall_limit: StallLimit::default(),
            log_format: LogFormat::Pretty,
            log_filter: "info".to_owned(),
            spans: Spans::Off,
        }
    }
}

/// A value that is shown to nobody: its `Debug` has nothing of it.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `secret`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The value, to be used and not shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// For how long a runtime may not answer before the process counts as stalled: `STALL_LIMIT`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StallLimit {
    /// For so long: a second at least.
    After(Duration),
    /// It never counts as stalled.
    Off,
}

impl StallLimit {
    /// The limit; `None` if there is none.
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::After(time) => Some(time),
            Self::Off => None,
        }
    }
}

impl Default for StallLimit {
    /// 30 s. The liveness probe that `SERVICE manifest` prints bears it, so that the process says what
    /// blocks it before it is killed.
    fn default() -> Self {
        Self::After(Duration::from_secs(30))
    }
}

fn stall_limit(text: &str) -> Result<StallLimit, String> {
    let takes = || "takes a length of time from 1s on, such as 30s, or off".to_owned();
    if text == "off" {
        return Ok(StallLimit::Off);
    }
    let time = duration(text).map_err(|_| takes())?;
    match time >= Duration::from_secs(1) {
        true => Ok(StallLimit::After(time)),
        false => Err(takes()),
    }
}

/// A value parser for a length of time: `500ms`, `60s`, `2m`, `1h 30m`.
///
/// # Errors
///
/// What it takes, if it is none.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(uptree_app::settings::duration("1500ms"), Ok(Duration::from_millis(1500)));
/// assert!(uptree_app::settings::duration("soon").unwrap_err().contains("500ms"));
/// ```
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "takes a length of time, such as 500ms, 60s or 2m".to_owned())
}

/// A value parser for a number of bytes: `65536`, `64KiB`, `1MiB`, `1GiB`.
///
/// # Errors
///
/// What it takes, if it is none.
///
/// # Examples
///
/// ```
/// assert_eq!(uptree_app::settings::byte_size("1MiB"), Ok(1 << 20));
/// assert!(uptree_app::settings::byte_size("a lot").unwrap_err().contains("64KiB"));
/// ```
pub fn byte_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let number: Option<usize> = digits.parse().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| "takes a number of bytes, such as 65536, 64KiB or 1MiB".to_owned())
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    let names = PossibleValuesParser::new(["pretty", "json"]);
    names.map(|name| match name.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Pretty,
    })
}

fn spans() -> impl TypedValueParser<Value = Spans> {
    let names = PossibleValuesParser::new(["off", "lifecycle", "incarnations"]);
    names.map(|name| match name.as_str() {
        "lifecycle" => Spans::Lifecycle,
        "incarnations" => Spans::Incarnations,
        _ => Spans::Off,
    })
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter = tracing_subscriber::EnvFilter::builder().parse(text);
    filter
        .map(|_| text.to_owned())
        .map_err(|error| format!("takes a filter, such as info or warn,my_service=debug: {error}"))
}

/// A setting that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct BadSetting(String);

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSetting {}

/// What came of reading the command line and the environment.
pub(crate) enum Read {
    /// All is well, or some of it is not: then defaults stand in for the bad values, so that what
    /// depends on the settings can be checked all the same, and reported with them.
    Matches(ArgMatches, Vec<BadSetting>),
    /// Not even defaults help; or `--help` was asked for.
    Stop(Vec<BadSetting>, clap::Error),
}

/// Reads `command`'s arguments from `words` (the first is the program) and the environment, where
/// one of `commands` may be named.
pub(crate) fn read(
    command: Command,
    commands: &Commands,
    words: Vec<OsString>,
    secrets: Secrets,
) -> Read {
    let mut bad = Vec::new();
    // An empty variable is one that is not set.
    let command = command.mut_args(|arg| {
        let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
        match arg.get_env().is_some_and(is_empty) {
            true => arg.env(Resettable::Reset),
            false => arg,
        }
    });
    let command = with_secret_files(command, &mut bad);
    // Most starts have all in the environment, and all is well: they are soon done. What came out of
    // a file stands as a default, which clap takes to be right.
    let from_file = |arg: &Arg| is_secret(arg) && arg.is_hide_default_value_set();
    if words.len() == 1
        && bad.is_empty()
        && !command.get_arguments().any(from_file)
        && let Ok(matches) = command.clone().try_get_matches_from(&words)
    {
        return Read::Matches(matches, bad);
    }
    // First as mere text: it tells what was given, and fails for unknown flags and `--help`.
    let as_text = |arg: Arg| match arg.get_action().takes_values() {
        true => arg.value_parser(ValueParser::os_string()).required(false),
        false => arg,
    };
    let texts = commands.beside(command.clone().mut_args(as_text));
    let texts = match texts.try_get_matches_from(words.clone()) {
        Ok(texts) => texts,
        // The help is the real command's.
        Err(error) if !error.use_stderr() => {
            let help = commands.beside(command).try_get_matches_from(words).err();
            return Read::Stop(Vec::new(), help.unwrap_or(error));
        }
        Err(error) => return Read::Stop(bad, error),
    };
    let mut unusable: Vec<Arg> = Vec::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let Ok(Some(text)) = texts.try_get_one::<OsString>(id) else {
            continue;
        };
        let given = texts.value_source(id) != Some(ValueSource::DefaultValue);
        if let Err(complaint) = parse_alone(arg, text)
            && (given || is_secret(arg))
        {
            bad.push(BadSetting(complain(arg, text, &complaint)));
            unusable.push(arg.clone());
        }
    }
    let is_unusable = |arg: &Arg| unusable.iter().any(|bad| bad.get_id() == arg.get_id());
    let command = command.mut_args(|arg| match is_unusable(&arg) {
        true => arg.env(Resettable::Reset),
        false => arg,
    });
    let looks_only = |name: &str| commands.looks_only(name);
    let stood_in = secrets == Secrets::StoodInFor;
    let command = match stood_in || texts.subcommand_name().is_some_and(looks_only) {
        true => with_stand_ins(command, &texts),
        false => command,
    };
    let command = match texts.subcommand_name() {
        None => command,
        // What must be given may stand anywhere: clap itself would look for it in one place.
        Some(_) => match missing(&command, &texts) {
            Some(error) => return Read::Stop(bad, error),
            None => commands.beside(command),
        },
    };
    match command.try_get_matches_from(without(words, &unusable)) {
        Ok(matches) => Read::Matches(matches, bad),
        Err(error) => Read::Stop(bad, error),
    }
}

/// What clap says if an argument that must be given is not.
fn missing(command: &Command, given: &ArgMatches) -> Option<clap::Error> {
    let is_given = |arg: &Arg| given.value_source(arg.get_id().as_str()).is_some();
    let mut required = command.get_arguments().filter(|arg| arg.is_required_set());
    if required.all(is_given) {
        return None;
    }
    let name = command.get_name().to_owned();
    let command = command.clone().mut_args(|arg| match is_given(&arg) {
        true => arg.required(false),
        false => arg,
    });
    command.try_get_matches_from([name]).err()
}

/// Lets who only looks at the list of children do without the secrets that the service needs: what
/// is told of it depends on none of them.
fn with_stand_ins(command: Command, given: &ArgMatches) -> Command {
    command.mut_args(|arg| {
        let is_given = given.value_source(arg.get_id().as_str()).is_some();
        if is_given || !is_secret(&arg) || !arg.is_required_set() {
            return arg;
        }
        let takes = |text: &&&str| parse_alone(&arg, OsStr::new(text)).is_ok();
        match STAND_INS.iter().find(takes) {
            Some(text) => arg.required(false).default_value(*text),
            None => arg,
        }
    })
}

/// What a secret may look like: a word, a number, a URL.
const STAND_INS: &[&str] = &[
    "secret",
    "1",
    "http://localhost/",
    "postgres://localhost/secret",
    "00000000000000000000000000000000",
    "127.0.0.1:1",
];

fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

/// Lets each secret setting `NAME` be given in a file that `NAME_FILE` names.
fn with_secret_files(command: Command, bad: &mut Vec<BadSetting>) -> Command {
    command.mut_args(|arg| {
        let name = arg.get_env().and_then(OsStr::to_str).map(str::to_owned);
        let Some(name) = name.filter(|_| is_secret(&arg)) else {
            return arg;
        };
        let file_name = format!("{name}_FILE");
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let arg = arg.help(format!("{help} [or in the file that {file_name} names]"));
        let Some(path) = std::env::var_os(&file_name).filter(|path| !path.is_empty()) else {
            return arg;
        };
        if std::env::var_os(&name).is_some() {
            let both = format!("{name}, {file_name}: both are set; set one of them");
            bad.push(BadSetting(both));
            return arg;
        }
        match std::fs::read_to_string(&path) {
            Ok(secret) => {
                let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
                arg.default_value(secret).hide_default_value(true)
            }
            Err(error) => {
                let path = path.display();
                bad.push(BadSetting(format!(
                    "{file_name}: cannot read {path}: {error}"
                )));
                arg
            }
        }
    })
}

/// What `arg`'s own parser says of `text`.
fn parse_alone(arg: &Arg, text: &OsStr) -> Result<(), clap::Error> {
    let mut word = OsString::from("--value=");
    word.push(text);
    let alone = Arg::new("value")
        .long("value")
        .value_parser(arg.get_value_parser().clone());
    let command = Command::new("alone").no_binary_name(true).arg(alone);
    command.try_get_matches_from([word]).map(drop)
}

/// Names the variable, shows the value unless it is secret, and says what it takes.
fn complain(arg: &Arg, text: &OsStr, complaint: &clap::Error) -> String {
    let flag = arg.get_long().map(|long| format!("--{long}"));
    let variable = arg.get_env().map(|name| name.display().to_string());
    let name = match (variable, flag) {
        (Some(variable), Some(flag)) => format!("{variable} ({flag})"),
        (variable, flag) => variable
            .or(flag)
            .unwrap_or_else(|| arg.get_id().to_string()),
    };
    let shown = match is_secret(arg) {
        true => String::new(),
        false => format!(" {:?}:", text.display().to_string()),
    };
    let possible: Vec<_> = arg.get_possible_values();
    let why = match (std::error::Error::source(complaint), possible.is_empty()) {
        (Some(source), _) => source.to_string(),
        (None, false) => {
            let names: Vec<_> = possible
                .iter()
                .map(clap::builder::PossibleValue::get_name)
                .collect();
            format!("takes {}", names.join(" or "))
        }
        (None, true) => "takes a value".into(),
    };
    format!("{name}:{shown} {why}")
}

/// The words without those that set one of `args`.
fn without(words: Vec<OsString>, args: &[Arg]) -> Vec<OsString> {
    let flags: Vec<String> = args
        .iter()
        .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
        .collect();
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if flags.iter().any(|flag| text == flag) {
            words.next();
        } else if !flags.iter().any(|flag| {
            let rest = text.strip_prefix(flag.as_str());
            rest.is_some_and(|rest| rest.starts_with('='))
        }) {
            kept.push(word);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Args)]
    struct Sample {
        #[arg(long, default_value = "10", value_parser = clap::value_parser!(u16).range(1..))]
        pool_size: u16,
        #[arg(long, default_value = "5s", value_parser = duration)]
        delay: Duration,
        #[arg(
            long,
            hide_env_values = true,
            env = "UPTREE_TEST_URL",
            default_value = "x:"
        )]
        #[arg(value_parser = |text: &str| text.contains(':').then(|| text.to_owned()).ok_or("takes a URL"))]
        url: String,
    }

    fn read_words(words: &[&str]) -> (Option<ArgMatches>, Vec<String>) {
        let command = <Sample as clap::Args>::augment_args(Command::new("sample"));
        let words = ["sample"].iter().chain(words).map(OsString::from).collect();
        match read(command, &Commands::default(), words, Secrets::Needed) {
            Read::Matches(matches, bad) => {
                (Some(matches), bad.iter().map(ToString::to_string).collect())
            }
            Read::Stop(_, error) => (None, vec![error.kind().to_string()]),
        }
    }

    #[test]
    fn every_bad_value_is_found_and_its_default_stands_in() {
        let (matches, bad) = read_words(&["--pool-size", "abc", "--delay=soon"]);
        assert_eq!(
            bad,
            [
                "--pool-size: \"abc\": invalid digit found in string",
                "--delay: \"soon\": takes a length of time, such as 500ms, 60s or 2m",
            ]
        );
        let matches = matches.expect("defaults stand in");
        assert_eq!(matches.get_one("pool_size"), Some(&10_u16));
        assert_eq!(matches.get_one("delay"), Some(&Duration::from_secs(5)));
    }

    #[test]
    fn good_values_are_taken() {
        let (matches, bad) = read_words(&["--pool-size", "3"]);
        assert_eq!(bad, [""; 0]);
        assert_eq!(
            matches.and_then(|it| it.get_one("pool_size").copied()),
            Some(3_u16)
        );
    }

    #[test]
    fn a_secret_value_is_not_shown() {
        let (_, bad) = read_words(&["--url", "hunter2"]);
        assert_eq!(bad, ["UPTREE_TEST_URL (--url): takes a URL"]);
    }

    #[test]
    fn an_unknown_flag_stops() {
        let (matches, _) = read_words(&["--poolsize", "3"]);
        assert!(matches.is_none());
    }

    #[test]
    fn the_defaults_of_a_process_are_those_that_the_help_shows() {
        let command = <ProcessSettings as clap::Args>::augment_args(Command::new("sample"));
        let command = command.mut_args(|arg| arg.env(Resettable::Reset));
        let matches = command.get_matches_from(["sample"]);
        let parsed = <ProcessSettings as clap::FromArgMatches>::from_arg_matches(&matches);
        let parsed = parsed.expect("all have defaults");
        let default = ProcessSettings::default();
        assert_eq!(format!("{parsed:?}"), format!("{default:?}"));
    }

    #[test]
    fn a_stall_limit_is_a_second_or_more_or_off() {
        let after = |seconds| Ok(StallLimit::After(Duration::from_secs(seconds)));
        for (text, limit) in [
            ("30s", after(30)),
            ("1s", after(1)),
            ("off", Ok(StallLimit::Off)),
        ] {
            assert_eq!(stall_limit(text), limit, "{text}");
        }
        for text in ["999ms", "0s", "never", "", "-1s"] {
            let error = stall_limit(text).expect_err(text);
            assert_eq!(
                error,
                "takes a length of time from 1s on, such as 30s, or off"
            );
        }
    }

    #[test]
    fn byte_sizes() {
        let sizes = ["7", "7B", "2KiB", "1 MiB", "1GiB", "1MB", "", "KiB", "-1"];
        let read = sizes.map(|text| byte_size(text).ok());
        let expected = [Some(7), Some(7), Some(2048), Some(1 << 20), Some(1 << 30)];
        assert_eq!(read[..5], expected);
        assert_eq!(read[5..], [None; 4]);
    }
}
