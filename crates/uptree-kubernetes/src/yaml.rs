//! YAML as a tree that knows where in the text each part stands, and whose size is bounded.
//!
//! An alias is the node that it stands for, not a copy of it: a few lines of aliases of aliases
//! take no more room here than in the file.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

/// The longest text that is looked at, in bytes.
pub(crate) const MAX_LENGTH: usize = 4 << 20;

/// How many lists, maps, keys and values there may be.
const MAX_NODES: usize = 1 << 20;

/// Why a manifest cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
#[non_exhaustive]
pub struct ReadError {
    /// Where, from 1 on.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl ReadError {
    pub(crate) fn new(line: usize, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { line, what }
    }
}

impl From<ScanError> for ReadError {
    fn from(error: ScanError) -> Self {
        Self::new(error.marker().line(), error.info())
    }
}

/// The documents of a text.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

#[derive(Debug)]
struct Node {
    line: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Whether it stands without quotes, so that it may be a number or `null`.
    Text {
        text: String,
        plain: bool,
    },
    List(Vec<usize>),
    /// Keys and values in turn.
    Map(Vec<usize>),
}

impl Documents {
    /// Reads a text; JSON is YAML too.
    pub(crate) fn read(text: &str) -> Result<Self, ReadError> {
        if text.len() > MAX_LENGTH {
            let what = format!("longer than {} MiB", MAX_LENGTH >> 20);
            return Err(ReadError::new(1, what));
        }
        let mut reader = Reader::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event?;
            reader.take(event, span.start.line())?;
        }
        Ok(reader.documents)
    }

    /// Those that are not empty.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Yaml<'_>> {
        let all = self.roots.iter().map(|&id| Yaml { all: self, id });
        all.filter(|document| !document.is_null())
    }
}

#[derive(Default)]
struct Reader {
    documents: Documents,
    /// The lists and maps that are not at their end yet.
    open: Vec<usize>,
    anchors: HashMap<usize, usize>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), ReadError> {
        match event {
            Event::Scalar(text, style, anchor, ..) => {
                let content = Content::Text {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                };
                self.add(content, anchor, line)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Content::List(Vec::new()), anchor, line)?;
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(Content::Map(Vec::new()), anchor, line)?;
            }
            Event::SequenceEnd => drop(self.open.pop()),
            Event::MappingEnd => {
                if let Some(map) = self.open.pop() {
                    self.check_keys(map)?;
                }
            }
            Event::Alias(anchor) => {
                let unknown = || ReadError::new(line, "an alias of nothing");
                let id = *self.anchors.get(&anchor).ok_or_else(unknown)?;
                self.put(id, line)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, content: Content, anchor: usize, line: usize) -> Result<(), ReadError> {
        let id = self.add(content, anchor, line)?;
        self.open.push(id);
        Ok(())
    }

    fn add(&mut self, content: Content, anchor: usize, line: usize) -> Result<usize, ReadError> {
        let nodes = &mut self.documents.nodes;
        let id = nodes.len();
        nodes.push(Node { line, content });
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        self.put(id, line)?;
        Ok(id)
    }

    /// Puts a node where the reader is: an alias takes a place there too.
    fn put(&mut self, id: usize, line: usize) -> Result<(), ReadError> {
        let Some(&parent) = self.open.last() else {
            self.documents.roots.push(id);
            return Ok(());
        };
        if id >= MAX_NODES {
            return Err(ReadError::new(line, format!("more than {MAX_NODES} nodes")));
        }
        match &mut self.documents.nodes[parent].content {
            Content::List(items) | Content::Map(items) => items.push(id),
            Content::Text { .. } => {}
        }
        Ok(())
    }

    /// Kubernetes takes no key twice.
    fn check_keys(&self, map: usize) -> Result<(), ReadError> {
        let map = Yaml {
            all: &self.documents,
            id: map,
        };
        let mut seen = HashSet::new();
        for (key, _) in map.entries() {
            let Some(text) = key.text() else {
                let what = "a key that is no text; a template is to be rendered first";
                return Err(ReadError::new(key.line(), what));
            };
            if !seen.insert(text) {
                let what = format!("the key {text} stands there twice");
                return Err(ReadError::new(key.line(), what));
            }
        }
        Ok(())
    }
}

/// A part of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yaml<'a> {
    all: &'a Documents,
    id: usize,
}

impl<'a> Yaml<'a> {
    fn content(self) -> &'a Content {
        &self.all.nodes[self.id].content
    }

    fn at(self, id: usize) -> Self {
        Self { all: self.all, id }
    }

    /// Where it begins, from 1 on.
    pub(crate) fn line(self) -> usize {
        self.all.nodes[self.id].line
    }

    /// What stands behind a key of a map; `None` too if it is null.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        let own = self.find(key);
        // What is merged in stands back behind what is said here.
        let found = own.or_else(|| {
            let merged = self.find("<<")?;
            match merged.content() {
                Content::List(items) => items.iter().find_map(|&id| merged.at(id).find(key)),
                _ => merged.find(key),
            }
        });
        found.filter(|value| !value.is_null())
    }

    fn find(self, key: &str) -> Option<Self> {
        let mut entries = self.entries();
        let (_, value) = entries.find(|(it, _)| it.text() == Some(key))?;
        Some(value)
    }

    /// The keys and values of a map.
    pub(crate) fn entries(self) -> impl Iterator<Item = (Self, Self)> {
        let items = match self.content() {
            Content::Map(items) => &items[..],
            _ => &[],
        };
        let pairs = items.chunks_exact(2);
        pairs.map(move |pair| (self.at(pair[0]), self.at(pair[1])))
    }

    /// The items of a list.
    pub(crate) fn items(self) -> impl Iterator<Item = Self> {
        let items = match self.content() {
            Content::List(items) => &items[..],
            _ => &[],
        };
        items.iter().map(move |&id| self.at(id))
    }

    pub(crate) fn is_map(self) -> bool {
        matches!(self.content(), Content::Map(_))
    }

    pub(crate) fn is_list(self) -> bool {
        matches!(self.content(), Content::List(_))
    }

    /// A text, quoted or not.
    pub(crate) fn text(self) -> Option<&'a str> {
        match self.content() {
            Content::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A text that a reader of YAML takes for a text, and not for a number, a truth value or null.
    pub(crate) fn string(self) -> Option<&'a str> {
        match self.content() {
            Content::Text { text, plain: false } => Some(text),
            Content::Text { text, plain: true } if !is_special(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) fn number(self) -> Option<i64> {
        match self.content() {
            Content::Text { text, plain: true } => text.parse().ok(),
            _ => None,
        }
    }

    fn is_null(self) -> bool {
        match self.content() {
            Content::Text { text, plain: true } => is_null(text),
            _ => false,
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether a text without quotes is something else than a text. What YAML 1.1 takes for a truth
/// value is one to Kubernetes.
fn is_special(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let truth = ["true", "false", "yes", "no", "on", "off", "y", "n"];
    is_null(text) || truth.contains(&&*lower) || is_number(&lower)
}

fn is_number(lower: &str) -> bool {
    let digits = lower.trim_start_matches(['+', '-']);
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let plain = digits.replace('_', "");
    let based = ["0x", "0o", "0b"];
    begins
        && (plain.parse::<f64>().is_ok()
            || based.iter().any(|base| {
                let rest = plain.strip_prefix(base);
                rest.is_some_and(|rest| u64::from_str_radix(rest, 16).is_ok())
            })
            || matches!(&*plain, ".inf" | ".nan"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[track_caller]
    fn fails(text: &str) -> String {
        Documents::read(text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn parts_are_found_with_their_lines() {
        let text = "a: 1\nb:\n  - x: 'two'\n    y: [3, ~]\n---\n# nothing\n---\n{\"c\": null}\n";
        let documents = Documents::read(text).unwrap();
        let all: Vec<_> = documents.iter().collect();
        assert_eq!(all.len(), 2);
        let item = all[0].get("b").and_then(|b| b.items().next()).unwrap();
        let x = item.get("x").unwrap();
        assert_eq!((x.text(), x.line()), (Some("two"), 3));
        let y: Vec<_> = item.get("y").unwrap().items().map(Yaml::number).collect();
        assert_eq!(y, [Some(3), None]);
        assert_eq!(all[0].get("a").unwrap().number(), Some(1));
        assert!(all[1].get("c").is_none());
    }

    #[test]
    fn an_alias_is_what_it_stands_for_and_a_merge_stands_back() {
        let text = "base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  x: 3\nlist: [*b]\n";
        let documents = Documents::read(text).unwrap();
        let all = documents.iter().next().unwrap();
        let number = |key| all.get("own")?.get(key)?.number();
        assert_eq!((number("x"), number("y")), (Some(3), Some(2)));
        let item = all.get("list").unwrap().items().next().unwrap();
        assert_eq!(item.get("y").unwrap().number(), Some(2));
    }

    #[test]
    fn aliases_of_aliases_take_no_room() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..40 {
            let below = format!("*a{}, ", level - 1).repeat(9);
            _ = writeln!(text, "a{level}: &a{level} [{below}]");
        }
        let documents = Documents::read(&text).unwrap();
        assert!(documents.nodes.len() < 200);
        // Something that holds itself is no trouble either.
        Documents::read("a: &a [*a, {b: *a}]").unwrap();
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (text, expected) in [
            ("a: 1\nb: [1,", "line 2: "),
            ("a: 1\n b: 2", "line 2: "),
            ("a: 1\nb: *c", "line 2: "),
            ("a: 1\nb: 2\na: 3", "line 3: the key a stands there twice"),
            ("a: {{ .Values.a }}", "line 1: "),
            (
                &format!("{}{}", "[".repeat(300), "]".repeat(300)),
                "line 1: recursion limit",
            ),
            (&"[".repeat(100_000), "line 1: "),
            (&" ".repeat(MAX_LENGTH + 1), "line 1: longer than 4 MiB"),
        ] {
            let error = fails(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_text_without_quotes_may_be_something_else() {
        for (text, is_string) in [
            ("abc", true),
            ("'5'", true),
            ("\"on\"", true),
            ("5s", true),
            ("1.2.3", true),
            ("5", false),
            ("-1.5e3", false),
            ("1_000", false),
            ("0x1F", false),
            ("on", false),
            ("No", false),
            ("true", false),
        ] {
            let text = format!("a: {text}");
            let documents = Documents::read(&text).unwrap();
            let a = documents.iter().next().unwrap().find("a").unwrap();
            assert_eq!(a.string().is_some(), is_string, "{text}");
        }
    }
}
