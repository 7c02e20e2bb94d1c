//! A case as it is printed: a line for each child, each of its lives, and each deed.

use std::fmt::{Display, Formatter, Result};

use super::case::{Case, Deed, Kind, Life, Node, Word};

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            seed,
            root,
            deeds,
            until,
            end,
        } = self;
        show(root, 0, f)?;
        for (after, deed) in deeds {
            write!(f, "+{after} ")?;
            show_deed(deed, f)?;
        }
        writeln!(f, "{end:?} at {until}, seed {seed}")
    }
}

fn show_deed(deed: &Deed, f: &mut Formatter<'_>) -> Result {
    match deed {
        Deed::Start(to, node) => {
            writeln!(f, "Start({to})")?;
            show(node, 1, f)
        }
        Deed::Abandoned(deed, after) => {
            write!(f, "abandoned after {after}: ")?;
            show_deed(deed, f)
        }
        deed => writeln!(f, "{deed:?}"),
    }
}

fn show(node: &Node, depth: usize, f: &mut Formatter<'_>) -> Result {
    let indent = "    ".repeat(depth);
    let Node {
        restart,
        shutdown,
        significant,
        start_timeout,
        cancel_grace,
        backoff,
        kind,
    } = node;
    write!(f, "{indent}")?;
    match kind {
        Kind::Worker(_) => write!(f, "Worker")?,
        Kind::Supervisor(settings, restarts, _) => write!(f, "{restarts:?} {settings:?}")?,
        Kind::Parallel(settings, _) => write!(f, "Parallel {settings:?}")?,
        Kind::Dynamic(settings, max) => write!(f, "Dynamic max {max:?} {settings:?}")?,
    }
    write!(f, ": {restart:?} {shutdown:?}")?;
    if *significant {
        write!(f, " significant")?;
    }
    if let Some(timeout) = start_timeout {
        write!(f, " start_timeout {timeout}")?;
    }
    if let Some(grace) = cancel_grace {
        write!(f, " cancel_grace {grace}")?;
    }
    if let Some(backoff) = backoff {
        write!(f, " backoff {backoff:?}")?;
    }
    writeln!(f)?;
    match kind {
        Kind::Worker(lives) => lives
            .iter()
            .try_for_each(|life| show_life(life, &indent, f)),
        Kind::Supervisor(_, _, children) | Kind::Parallel(_, children) => {
            let mut children = children.iter();
            children.try_for_each(|child| show(child, depth + 1, f))
        }
        Kind::Dynamic(..) => Ok(()),
    }
}

fn show_life(life: &Life, indent: &str, f: &mut Formatter<'_>) -> Result {
    let Life {
        start,
        word,
        deaf,
        run,
        waits,
        stop,
    } = life;
    write!(f, "{indent}    {start:?} {word:?}")?;
    if *word == Word::Ready {
        let deaf = if *deaf { "deaf " } else { "" };
        let waits = if *waits { " until asked" } else { "" };
        write!(f, " {deaf}{run:?}{waits} {stop:?}")?;
    }
    writeln!(f)
}
