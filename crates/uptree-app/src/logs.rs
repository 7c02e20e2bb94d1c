//! Log lines, each with the path of the child that wrote it.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::SystemTime,
};

use serde_json::{Map, Value};
use tracing::{Level, Subscriber, field::Visit};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people; with colours on a terminal.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// A service's.
    Stdout,
    /// A command's: its stdout is for what it was asked for.
    Stderr,
}

/// Sends the process's log lines to `output`, and its panics to the log.
///
/// A subscriber that the program has set before stays.
pub(crate) fn init(format: LogFormat, filter: &str, output: Output) {
    let is_terminal = match output {
        Output::Stdout => io::stdout().is_terminal(),
        Output::Stderr => io::stderr().is_terminal(),
    };
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(colours)
        // To stderr, which has the failure alone.
        .log_internal_errors(false)
        .with_env_filter(EnvFilter::new(filter))
        .event_format(Lines(format))
        .with_writer(move || -> Box<dyn Write> {
            match output {
                Output::Stdout => Box::new(io::stdout()),
                Output::Stderr if is_terminal => Box::new(OverProgress(io::stderr())),
                Output::Stderr => Box::new(io::stderr()),
            }
        })
        .finish();
    // It fails only if there is a subscriber already.
    _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(log_panic));
}

/// The log lines of a service as a layer, to stdout and without colours: for a program that sets up
/// `tracing` by itself, to have a layer of its own beside them. Which lines there are is up to the
/// filter that it sets with them.
///
/// A subscriber that is set before the tree is built, or while it is, stays: [`main`](crate::main)
/// then sets none.
///
/// # Examples
///
/// ```
/// use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};
/// use uptree_app::{LogFormat, log_layer};
///
/// tracing_subscriber::registry()
///     .with(EnvFilter::new("info"))
///     .with(log_layer(LogFormat::Json))
///     // Such as OpenTelemetry's:
///     // .with(tracing_opentelemetry::layer().with_tracer(tracer))
///     .init();
/// ```
pub fn log_layer<S>(format: LogFormat) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .event_format(Lines(format))
}

/// Puts a log line in the place of the line in which a command shows its progress on a terminal.
struct OverProgress(io::Stderr);

impl Write for OverProgress {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text)
    }

    /// Called once a line, with all of it.
    fn write_all(&mut self, text: &[u8]) -> io::Result<()> {
        let mut stderr = self.0.lock();
        stderr.write_all(b"\r\x1b[K")?;
        stderr.write_all(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A child's panic is reported with its message when the child ends; here is where it was.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    let backtrace = std::backtrace::Backtrace::capture();
    match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => {
            tracing::error!(place, %backtrace, "panicked: {message}");
        }
        _ => tracing::error!(place, "panicked: {message}"),
    }
}

struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.child.is_none() {
            fields.child = uptree_supervisor::current().map(|path| path.to_string());
        }
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        match self.0 {
            LogFormat::Pretty => pretty(writer, &time, event.metadata(), &fields),
            LogFormat::Json => json(writer, &time, event.metadata(), fields),
        }
    }
}

fn pretty(
    mut writer: Writer<'_>,
    time: &humantime::Rfc3339Timestamp,
    metadata: &tracing::Metadata<'_>,
    fields: &Fields,
) -> fmt::Result {
    let (dim, bold, colour, reset) = if writer.has_ansi_escapes() {
        let colour = match *metadata.level() {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            Level::DEBUG => "\x1b[34m",
            Level::TRACE => "\x1b[35m",
        };
        ("\x1b[2m", "\x1b[1m", colour, "\x1b[0m")
    } else {
        ("", "", "", "")
    };
    let level = metadata.level();
    write!(writer, "{dim}{time}{reset} {colour}{level:>5}{reset}")?;
    match &fields.child {
        Some(child) => write!(writer, " {bold}{child}{reset}")?,
        None => write!(writer, " {dim}{}{reset}", metadata.target())?,
    }
    write!(writer, " {}", fields.message)?;
    for (name, value) in &fields.rest {
        match value {
            Value::String(text) if text.contains([' ', '\n', '"']) => {
                write!(writer, " {dim}{name}={reset}{text:?}")?;
            }
            Value::String(text) => write!(writer, " {dim}{name}={reset}{text}")?,
            value => write!(writer, " {dim}{name}={reset}{value}")?,
        }
    }
    writeln!(writer)
}

fn json(
    mut writer: Writer<'_>,
    time: &humantime::Rfc3339Timestamp,
    metadata: &tracing::Metadata<'_>,
    fields: Fields,
) -> fmt::Result {
    let mut line = Map::new();
    line.insert("timestamp".into(), time.to_string().into());
    line.insert("level".into(), metadata.level().as_str().into());
    if let Some(child) = fields.child {
        line.insert("child".into(), child.into());
    }
    line.insert("message".into(), fields.message.into());
    line.insert("target".into(), metadata.target().into());
    for (name, value) in fields.rest {
        line.entry(name).or_insert(value);
    }
    writeln!(writer, "{}", Value::Object(line))
}

/// The fields of one event.
#[derive(Default)]
struct Fields {
    child: Option<String>,
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &tracing::field::Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("child", Value::String(text)) => self.child = Some(text),
            (name, value) => {
                self.rest.insert(name.into(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &tracing::field::Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_error(
        &mut self,
        field: &tracing::field::Field,
        value: &(dyn std::error::Error + 'static),
    ) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
            source = error.source();
        }
        self.add(field, text.into());
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}
