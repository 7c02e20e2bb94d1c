//! Instructions for each operation: time is noisy, they are not.
//!
//! Each is the difference between two sizes of the same measurement under callgrind, on one thread.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bench::{Ask, Work, work::Count};

use crate::{
    contenders::{Contender, Program},
    process,
    report::number,
};

/// The numbers of children between which a difference is taken.
const CHILDREN: (usize, usize) = (1_000, 6_000);
/// How many children there are where operations are counted.
const LIVE: usize = 1_000;

pub(crate) fn run(
    works: impl Iterator<Item = &'static Work>,
    contenders: &[&'static Contender],
    target: &Path,
) -> Result<()> {
    println!(
        "Instructions for each operation on one thread, by callgrind; xR is the ratio to bare.\n"
    );
    print!("{:<22}", "work");
    for contender in contenders {
        print!(" {:>24}", contender.name);
    }
    println!();
    for work in works {
        let Some(count) = work.count else { continue };
        print!("{:<22}", work.name);
        let mut bare = None;
        for contender in contenders {
            if contender.cannot(work.name).is_some() {
                print!(" {:>24}", "-");
                continue;
            }
            let each = each(work.name, count, contender, target)?;
            let bare = *bare.get_or_insert(each);
            let cell = format!("{} x{:.2}", number(each), each / bare);
            print!(" {cell:>24}");
        }
        println!();
    }
    Ok(())
}

fn each(work: &str, count: Count, contender: &Contender, target: &Path) -> Result<f64> {
    let counted = |n, ops| {
        let ask = Ask {
            peer: contender.name.into(),
            work: work.into(),
            n,
            threads: 1,
            ops,
        };
        collected(contender.program, &ask, target)
    };
    let each = |less: f64, more: f64, by: usize| (more - less) / by as f64;
    let by_children = || -> Result<f64> {
        let (less, more) = CHILDREN;
        Ok(each(
            counted(less, None)?,
            counted(more, None)?,
            more - less,
        ))
    };
    Ok(match count {
        Count::Children => by_children()?,
        Count::Less(part) => by_children()? - self::each(part, Count::Children, contender, target)?,
        Count::Ops(less, more) => {
            let (of_less, of_more) = (counted(LIVE, Some(less))?, counted(LIVE, Some(more))?);
            each(of_less, of_more, more - less)
        }
    })
}

/// How many instructions callgrind says that a measurement took as a whole.
fn collected(program: Program, ask: &Ask, target: &Path) -> Result<f64> {
    let command = process::command(program, ask, target)?;
    let mut valgrind = std::process::Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(command.get_program()).args(command.get_args());
    let output = valgrind.output().context("valgrind cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let collected = said.split("Collected :").nth(1);
    let collected = collected.and_then(|it| it.split_whitespace().next()?.parse().ok());
    collected.with_context(|| format!("callgrind did not say how many: {said}"))
}
