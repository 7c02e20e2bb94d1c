//! A probe's answer as text and as JSON.

use serde::Serialize;
use uptree_app::Missing;

/// So many are told of each list; of the rest their number.
const MOST: usize = 20;

/// What is told: a word, and what is missing.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    status: &'static str,
    #[serde(flatten)]
    lists: Option<Lists>,
}

#[derive(Debug, Serialize)]
struct Lists {
    missing: Vec<Line>,
    /// What is amiss and keeps the service from nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    informative: Vec<Line>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    who: Who,
    state: String,
    for_ms: u64,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Who {
    Child(String),
    Check(String),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Told {
    /// A word and nothing else.
    pub(super) fn word(status: &'static str) -> Self {
        Self {
            status,
            lists: None,
        }
    }

    /// Adds what is missing, and what else is amiss.
    pub(super) fn list(&mut self, missing: &[Missing], informative: &[Missing]) {
        let more = [missing.len(), informative.len()];
        let more = more.map(|length| length.saturating_sub(MOST)).iter().sum();
        let lines = |list: &[Missing]| list.iter().take(MOST).map(Line::of).collect();
        self.lists = Some(Lists {
            missing: lines(missing),
            informative: lines(informative),
            more,
        });
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.status.to_owned();
        let Some(lists) = &self.lists else {
            return text;
        };
        let missing = lists.missing.iter().map(|line| line.text.clone());
        let informative = lists.informative.iter();
        let informative = informative.map(|line| format!("informative: {}", line.text));
        let more = (lists.more > 0).then(|| format!("and {} more", lists.more));
        for line in missing.chain(informative).chain(more) {
            text.push('\n');
            // An id may be any text.
            text.extend(line.chars().map(|it| match it.is_control() {
                true => char::REPLACEMENT_CHARACTER,
                false => it,
            }));
        }
        text
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("it has text and numbers only")
    }
}

impl Line {
    fn of(missing: &Missing) -> Self {
        let text = missing.to_string();
        let state = missing.state().to_string();
        let for_ms = u64::try_from(missing.age().as_millis()).unwrap_or(u64::MAX);
        let path = missing.path().to_owned();
        let who = match missing {
            Missing::Check { .. } => Who::Check(path),
            _ => Who::Child(path),
        };
        Self {
            who,
            state,
            for_ms,
            text,
        }
    }
}
