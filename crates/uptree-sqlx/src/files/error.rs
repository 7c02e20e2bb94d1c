//! What can be wrong with a file before anything of it runs.

use std::path::PathBuf;

use crate::place::Place;

/// Why a file of migrations is not run.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not text in UTF-8.
    #[error("{} is not UTF-8: line {line} has something else, at byte {byte}", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The first byte that is wrong, counted from 0.
        byte: usize,
        /// Its line, counted from 1.
        line: usize,
        /// Whether it looks like UTF-16.
        utf16: bool,
    },
    /// It is larger than a migration can be.
    #[error("{} has {} MiB, and a migration can have {LIMIT_MIB}", path.display(), bytes.div_ceil(1 << 20))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it is.
        bytes: u64,
    },
    /// One of its leading comments is nearly a directive.
    #[error("{file}: line {line} has `{written}`, which is not `{meant}`")]
    Directive {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        written: String,
        /// What there is.
        meant: &'static str,
    },
    /// It requires a migration that is not there.
    #[error("{file} requires migration {requires}, and the newest is {newest}")]
    Requires {
        /// The file.
        file: String,
        /// What it requires.
        requires: i64,
        /// What there is.
        newest: i64,
    },
    /// It says something that cannot be run as a migration.
    #[error("{file} at {place}: {reason}")]
    Refused {
        /// The file.
        file: String,
        /// Where in it.
        place: Place,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// The largest migration.
pub(super) const LIMIT_MIB: u64 = 256;

impl FileError {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Encoding { utf16: true, .. } => {
                "it looks like UTF-16: save it as UTF-8".to_owned()
            }
            Self::Encoding { .. } => "save it as UTF-8".to_owned(),
            Self::TooLarge { .. } => {
                "load data of this size with the database's own client, or from code".to_owned()
            }
            Self::Directive { line, meant, .. } => {
                format!("write `-- {meant}` in line {line}, or word the comment in another way")
            }
            Self::Requires { .. } => {
                "let it require a migration that this program has: itself at most".to_owned()
            }
            Self::Refused { remedy, .. } => (*remedy).to_owned(),
        }
    }
}

/// Something odd about a file, which is run nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: Option<usize>,
    /// What is odd, and what to do about it.
    pub(crate) message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}
