//! Asking whoever sits at the terminal.

use std::io::{self, IsTerminal, Write};

use uptree_app::{BoxError, help};

/// Asks a question that only this answer answers, unless it `is_answered` by a flag.
///
/// # Errors
///
/// Another answer, and no terminal to ask at.
pub(super) async fn ask(
    question: String,
    expected: String,
    is_answered: bool,
    flag: &'static str,
) -> Result<(), BoxError> {
    if is_answered {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let error = "there is no terminal to ask at, and nothing was done";
        return Err(help(error, format!("say {flag} if it is to be done")));
    }
    // On a thread of its own: a signal ends the command while it waits.
    let answer = tokio::task::spawn_blocking(move || {
        eprint!("{question} ");
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        Ok::<_, io::Error>(line.trim() == expected)
    });
    match answer.await.map_err(io::Error::other)?? {
        true => Ok(()),
        false => Err("that was not it, and nothing was done".into()),
    }
}
