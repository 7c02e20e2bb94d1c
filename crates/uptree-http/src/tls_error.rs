//! Why TLS cannot be spoken.

use std::{io, path::PathBuf};

use uptree_app::{BoxError, help};

/// Why an endpoint cannot speak TLS as `TLS_CERT` and `TLS_KEY` ask it to.
///
/// It never has anything of what the files say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One of the two is set without the other.
    #[error("{set} is set, and {missing} is not")]
    Half {
        /// The one that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// Both are set, and the feature `tls` is off.
    #[error("TLS_CERT and TLS_KEY are set, and this program is built without TLS")]
    NotBuiltIn,
    /// A file cannot be read.
    #[error("cannot read {setting}, {}", path.display())]
    Read {
        /// `TLS_CERT` or `TLS_KEY`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file has nothing of what it should have, or is not PEM.
    #[error("there is no {what} in {setting}, {}", path.display())]
    Nothing {
        /// `certificate` or `private key`.
        what: &'static str,
        /// `TLS_CERT` or `TLS_KEY`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The key is another certificate's.
    #[error("the key in TLS_KEY is not that of the certificate in TLS_CERT")]
    Mismatch,
    /// The certificate or the key is of no use.
    #[error("the certificate in TLS_CERT, or the key in TLS_KEY, cannot be used")]
    Unusable {
        /// What is wrong with it.
        source: BoxError,
    },
}

impl TlsError {
    /// This, with what to do about it.
    pub(crate) fn helped(self) -> BoxError {
        let remedy = match &self {
            Self::Half { .. } => "set both, or neither",
            Self::NotBuiltIn => {
                "build it with the feature `tls` of uptree, or unset TLS_CERT and TLS_KEY"
            }
            Self::Read { .. } => "name a file that this process may read",
            Self::Nothing {
                setting: "TLS_KEY", ..
            } => "name a PEM file with a private key without a password",
            Self::Nothing { .. } | Self::Unusable { .. } => {
                "name a PEM file with the certificate, and its chain after it"
            }
            Self::Mismatch => "take the key that the certificate was made for",
        };
        help(self, remedy)
    }
}
