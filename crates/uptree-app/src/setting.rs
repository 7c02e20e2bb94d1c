//! The settings of a service, for those who look at them from outside.

use std::ffi::OsStr;

use clap::{Arg, ArgMatches, parser::ValueSource};

/// A setting of the service: its name, what it is set to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
// They are what a reader asks, one by one.
#[expect(clippy::struct_excessive_bools)]
pub struct Setting {
    /// Its variable, such as `DRAIN_DELAY`.
    pub variable: Option<String>,
    /// Its flag, such as `--drain-delay`; none of one that is known by its place.
    pub flag: Option<String>,
    /// Whether the flag stands before a value.
    pub takes_value: bool,
    /// Whether it is secret: then no value is told here.
    pub is_secret: bool,
    /// Whether the service does not run without it.
    pub is_required: bool,
    /// Whether there is a default.
    pub has_default: bool,
    /// What it is set to, by its flag or its variable; empty if by neither.
    pub values: Vec<String>,
}

impl Setting {
    pub(crate) fn of(arg: &Arg, matches: &ArgMatches) -> Self {
        let id = arg.get_id().as_str();
        let is_secret = arg.is_hide_env_values_set();
        let source = matches.value_source(id);
        let is_given = source.is_some_and(|source| source != ValueSource::DefaultValue);
        let values = match matches.try_get_raw(id) {
            Ok(Some(values)) if is_given && !is_secret => values.map(text).collect(),
            _ => Vec::new(),
        };
        Self {
            variable: arg.get_env().map(text),
            flag: arg.get_long().map(|long| format!("--{long}")),
            takes_value: arg.get_action().takes_values(),
            is_secret,
            is_required: arg.is_required_set(),
            has_default: !arg.get_default_values().is_empty(),
            values,
        }
    }
}

fn text(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// The words of a command line that sets `variables`, and says what `words` say. Of what both say
/// the words go before, as a flag goes before its variable.
pub(crate) fn line(
    settings: &[Setting],
    variables: &[(String, String)],
    words: &[String],
) -> Vec<String> {
    let is_said = |flag: &str| {
        let mut words = words.iter();
        words.any(|word| {
            let rest = word.strip_prefix(flag);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    let mut line = Vec::new();
    // Those that are known by their place the words say all, or none.
    let by_place = settings
        .iter()
        .filter(|it| it.flag.is_none() && words.is_empty());
    line.extend(by_place.flat_map(|setting| setting.values.iter().cloned()));
    for setting in settings {
        let Some(flag) = setting.flag.as_deref().filter(|flag| !is_said(flag)) else {
            continue;
        };
        let is_it = |name: &str| setting.variable.as_deref() == Some(name);
        let variable = variables.iter().rfind(|(name, _)| is_it(name));
        let values = match variable {
            // One that is empty is not set.
            Some((_, value)) if value.is_empty() => continue,
            Some((_, value)) => std::slice::from_ref(value),
            None => &setting.values[..],
        };
        for value in values {
            match setting.takes_value {
                true => line.push(format!("{flag}={value}")),
                false if value == "true" => line.push(flag.to_owned()),
                false if value == "false" => {}
                // It is not taken, and said so.
                false => line.push(format!("{flag}={value}")),
            }
        }
    }
    line.extend(words.iter().cloned());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, takes_value: bool, values: &[&str]) -> Setting {
        Setting {
            variable: Some(name.to_owned()),
            flag: Some(format!("--{}", name.to_lowercase())),
            takes_value,
            is_secret: false,
            is_required: false,
            has_default: true,
            values: values.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn words_go_before_variables_and_these_before_what_is_set_here() {
        let settings = [
            setting("A", true, &["1"]),
            setting("B", false, &[]),
            setting("C", true, &[]),
        ];
        for (variables, words, expected) in [
            (&[][..], &[][..], &["--a=1"][..]),
            (&[("A", "2")], &[], &["--a=2"]),
            (
                &[("A", "2"), ("C", "3")],
                &["--a", "4"],
                &["--c=3", "--a", "4"],
            ),
            (&[("A", "2")], &["--a=4"], &["--a=4"]),
            (&[("A", "")], &["--ab"], &["--ab"]),
            (
                &[("B", "true"), ("D", "x")],
                &["run"],
                &["--a=1", "--b", "run"],
            ),
            (&[("B", "false")], &[], &["--a=1"]),
            (&[("B", "1")], &[], &["--a=1", "--b=1"]),
            (&[], &["x"], &["--a=1", "x"]),
        ] {
            let variables = variables.iter();
            let variables: Vec<_> = variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let words: Vec<_> = words.iter().map(ToString::to_string).collect();
            assert_eq!(line(&settings, &variables, &words), expected);
        }
    }

    #[test]
    fn what_is_known_by_its_place_is_said_unless_the_words_say_it() {
        let settings = [
            setting("A", true, &["1"]),
            Setting {
                flag: None,
                ..setting("P", true, &["here"])
            },
        ];
        let words = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(ToString::to_string).collect();
            line(&settings, &[], &words)
        };
        assert_eq!(words(&[]), ["here", "--a=1"]);
        assert_eq!(words(&["there"]), ["--a=1", "there"]);
    }
}
