//! What two databases have not in common.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::{State, Table};

/// How much of an object's difference is shown.
const LINES: usize = 12;

#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// What differs, ready to be read.
    pub(crate) differences: Vec<String>,
    /// What differs, but is not even the same when sqlx does it twice.
    pub(crate) erratic: Vec<String>,
}

/// Compares what sqlx has left with what Uptree has. `again` is what sqlx left another time.
pub(crate) fn compare(sqlx: &State, uptree: &State, again: Option<&State>) -> Comparison {
    let mut comparison = Comparison::default();
    for name in keys(&sqlx.objects, &uptree.objects) {
        let (theirs, ours) = (sqlx.objects.get(name), uptree.objects.get(name));
        if theirs == ours {
            continue;
        }
        let erratic = again.is_some_and(|again| {
            again.objects.get(name) != theirs
                || passing(&sqlx.objects, &again.objects).contains(&timeless(name))
        });
        match erratic {
            true => comparison.erratic.push(name.clone()),
            false => comparison.differences.push(object(name, theirs, ours)),
        }
    }
    for name in keys(&sqlx.tables, &uptree.tables) {
        let (theirs, ours) = (sqlx.tables.get(name), uptree.tables.get(name));
        if (theirs.is_none() || ours.is_none())
            && let Some(again) = again
            && passing(&sqlx.tables, &again.tables).contains(&timeless(name))
        {
            comparison.erratic.push(name.clone());
            continue;
        }
        let again = again.map(|again| again.tables.get(name));
        comparison.table(name, theirs, ours, again);
    }
    comparison
}

/// With its numbers left out: a name made of the time is another one each time.
fn timeless(name: &str) -> String {
    let parts = name.split(|c: char| c.is_ascii_digit());
    parts
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("#")
}

/// The names whose like comes and goes when sqlx does it twice.
fn passing<A>(one: &BTreeMap<String, A>, other: &BTreeMap<String, A>) -> BTreeSet<String> {
    let gone = one.keys().filter(|name| !other.contains_key(*name));
    let come = other.keys().filter(|name| !one.contains_key(*name));
    gone.chain(come).map(|name| timeless(name)).collect()
}

fn keys<'a, A, B>(
    one: &'a BTreeMap<String, A>,
    other: &'a BTreeMap<String, B>,
) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

/// A definition that differs, by its lines.
fn object(name: &str, theirs: Option<&String>, ours: Option<&String>) -> String {
    let (theirs, ours) = match (theirs, ours) {
        (Some(theirs), Some(ours)) => (theirs, ours),
        (None, _) => return format!("{name}: only with Uptree"),
        (_, None) => return format!("{name}: only with sqlx"),
    };
    let lines = |one: &str, other: &str, who: &str| {
        let other: BTreeSet<_> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        let lines: Vec<_> = lines.map(|line| format!("  {who}: {line}")).collect();
        lines
    };
    let mut text = vec![format!("{name}:")];
    for lines in [lines(theirs, ours, "sqlx"), lines(ours, theirs, "Uptree")] {
        let more = lines.len().saturating_sub(LINES);
        text.extend(lines.into_iter().take(LINES));
        if more > 0 {
            text.push(format!("  and {more} lines more"));
        }
    }
    if text.len() == 1 {
        text.push("  the same lines in another order".to_owned());
    }
    text.join("\n")
}

impl Comparison {
    #[expect(
        clippy::option_option,
        reason = "no other run, or one without the table"
    )]
    fn table(
        &mut self,
        name: &str,
        theirs: Option<&Table>,
        ours: Option<&Table>,
        again: Option<Option<&Table>>,
    ) {
        let (theirs, ours) = match (theirs, ours) {
            (Some(theirs), Some(ours)) => (theirs, ours),
            (theirs, _) => {
                let one = if theirs.is_some() { "sqlx" } else { "Uptree" };
                let difference = format!("{name}: is there only with {one}");
                match again.is_some_and(|again| again.is_some() != theirs.is_some()) {
                    true => self.erratic.push(name.to_owned()),
                    false => self.differences.push(difference),
                }
                return;
            }
        };
        // Columns are known only where there is a row.
        if theirs.rows.is_empty() != ours.rows.is_empty() {
            let (n, m) = (theirs.rows.len(), ours.rows.len());
            let steady = again.flatten().is_none_or(|again| again.rows.len() == n);
            match steady {
                true => self.differences.push(format!("{name}: {}", count_of(n, m))),
                false => self.erratic.push(name.to_owned()),
            }
            return;
        }
        if theirs.columns != ours.columns {
            let columns = |table: &Table| table.columns.join(", ");
            let (theirs, ours) = (columns(theirs), columns(ours));
            self.differences.push(format!(
                "{name}: columns {theirs} with sqlx, {ours} with Uptree"
            ));
            return;
        }
        let columns = 0..theirs.columns.len();
        let is_erratic = |column: usize| {
            again.is_some_and(|again| {
                again.is_none_or(|again| values(again, column) != values(theirs, column))
            })
        };
        let (erratic, steady): (Vec<_>, Vec<_>) = match theirs.same(ours) {
            true => return,
            false => columns.partition(|column| is_erratic(*column)),
        };
        if erratic.len() == theirs.columns.len() {
            self.erratic.push(name.to_owned());
            return;
        }
        let erratic = erratic.iter().map(|column| &theirs.columns[*column]);
        self.erratic
            .extend(erratic.map(|column| format!("{name}.{column}")));
        if let Some(difference) = rows(theirs, ours, &steady) {
            self.differences.push(format!("{name}: {difference}"));
        }
    }
}

impl Table {
    fn same(&self, other: &Self) -> bool {
        let all: Vec<_> = (0..self.columns.len()).collect();
        rows(self, other, &all).is_none()
    }
}

/// How the rows differ, looking only at these columns.
fn rows(theirs: &Table, ours: &Table, columns: &[usize]) -> Option<String> {
    let (one, other) = (count(theirs, columns), count(ours, columns));
    if one == other {
        return None;
    }
    let (n, m) = (theirs.rows.len(), ours.rows.len());
    if n != m {
        return Some(count_of(n, m));
    }
    let kept: usize = one
        .iter()
        .map(|(row, n)| other.get(row).map_or(0, |m| *n.min(m)))
        .sum();
    let names = columns
        .iter()
        .filter(|column| values(theirs, **column) != values(ours, **column))
        .map(|column| theirs.columns[*column].as_str());
    let names: Vec<_> = names.collect();
    let differ = n - kept;
    Some(match names.is_empty() {
        true => format!("{differ} of {n} rows combine their values differently"),
        false => format!("{differ} of {n} rows differ, in {}", names.join(", ")),
    })
}

fn count_of(theirs: usize, ours: usize) -> String {
    format!("{theirs} rows with sqlx, {ours} with Uptree")
}

/// The values of a column, whatever the rows' order.
fn values(table: &Table, column: usize) -> Option<Vec<u64>> {
    let values = table.rows.iter().map(|row| row.get(column).copied());
    let mut values: Vec<_> = values.collect::<Option<_>>()?;
    values.sort_unstable();
    Some(values)
}

/// How often each row is there.
fn count(table: &Table, columns: &[usize]) -> BTreeMap<Vec<u64>, usize> {
    let mut count = BTreeMap::new();
    for row in &table.rows {
        let row = columns.iter().map(|column| row[*column]).collect();
        *count.entry(row).or_default() += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database with one table `t` of columns `a` and `b`.
    fn state(rows: &[[&str; 2]]) -> State {
        let mut table = Table::new(["a", "b"]);
        for row in rows {
            table.push(row);
        }
        let mut state = State::default();
        state.tables.insert("t".to_owned(), table);
        state
    }

    fn defined(text: &str) -> State {
        let mut state = State::default();
        state.define("VIEW v", text);
        state
    }

    #[track_caller]
    fn check(sqlx: &State, uptree: &State, again: &State, expected: (&[&str], &[&str])) {
        let Comparison {
            differences,
            erratic,
        } = compare(sqlx, uptree, Some(again));
        assert_eq!((differences, erratic), expected_of(expected));
    }

    fn expected_of((a, b): (&[&str], &[&str])) -> (Vec<String>, Vec<String>) {
        let own = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
        (own(a), own(b))
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let one = state(&[["1", "x"], ["2", "y"]]);
        let other = state(&[["2", "y"], ["1", "x"]]);
        check(&one, &other, &one, (&[], &[]));
    }

    #[test]
    fn rows_that_differ_are_counted_and_their_columns_named() {
        let sqlx = state(&[["1", "x"], ["2", "y"]]);
        let mut empty = State::default();
        empty.tables.insert("t".to_owned(), Table::default());
        let cases = [
            (
                state(&[["1", "x"], ["2", "z"]]),
                "t: 1 of 2 rows differ, in b",
            ),
            (
                state(&[["1", "y"], ["2", "x"]]),
                "t: 2 of 2 rows combine their values differently",
            ),
            (state(&[["1", "x"]]), "t: 2 rows with sqlx, 1 with Uptree"),
            (State::default(), "t: is there only with sqlx"),
            (empty, "t: 2 rows with sqlx, 0 with Uptree"),
        ];
        for (uptree, difference) in cases {
            check(&sqlx, &uptree, &sqlx, (&[difference], &[]));
        }
    }

    #[test]
    fn what_sqlx_does_not_do_twice_is_not_a_difference() {
        let sqlx = state(&[["1", "noon"], ["2", "noon"]]);
        let again = state(&[["1", "one"], ["2", "one"]]);
        let uptree = state(&[["1", "two"], ["2", "two"]]);
        check(&sqlx, &uptree, &again, (&[], &["t.b"]));
        let wrong = state(&[["1", "two"], ["3", "two"]]);
        check(
            &sqlx,
            &wrong,
            &again,
            (&["t: 1 of 2 rows differ, in a"], &["t.b"]),
        );
        let (noon, one, two) = (defined("noon"), defined("one"), defined("two"));
        check(&noon, &two, &one, (&[], &["VIEW v"]));
        check(
            &noon,
            &two,
            &noon,
            (&["VIEW v:\n  sqlx: noon\n  Uptree: two"], &[]),
        );
    }
}
