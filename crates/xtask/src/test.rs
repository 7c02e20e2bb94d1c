//! `cargo xtask test`: every test there is.

use anyhow::Result;

use crate::step::{cargo, has_cargo, step};
use crate::{needs, otp};

pub(crate) fn run(filters: &[String]) -> Result<()> {
    needs::ensure();
    // On their own, so that the tests run what a user runs: built together with the tests, they
    // would have the features that only tests ask for.
    step(
        "examples",
        &mut cargo(["build", "-p", "service", "-p", "minimal"])?,
    )?;
    if has_cargo("nextest") {
        let mut nextest = cargo(["nextest", "run", "--workspace", "--no-fail-fast"])?;
        step("tests", nextest.args(filters))?;
    } else {
        let mut test = cargo([
            "test",
            "--workspace",
            "--all-targets",
            "--no-fail-fast",
            "--",
        ])?;
        step("tests", test.args(filters))?;
    }
    if filters.is_empty() {
        step("doc tests", &mut cargo(["test", "--doc", "--workspace"])?)?;
        otp::check()?;
    }
    Ok(())
}
