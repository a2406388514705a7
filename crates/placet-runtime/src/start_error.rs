//! Why an instance does not start.

use crate::error::PlaneError;
use crate::ports::PortError;
use placet_types::Digest;
use std::fmt;

/// Why an instance does not start.
#[derive(Debug)]
pub enum StartError {
    /// The store failed.
    Store(PortError),
    /// The log of a workspace is damaged, rolled back, or contradicts what was signed.
    Damaged {
        /// Which.
        workspace: String,
        /// Where and how.
        what: String,
    },
    /// The bundle given is not the one in force; publishing is governed.
    OtherBundle {
        /// In force.
        armed: Digest,
        /// Given.
        given: Digest,
    },
    /// The data were founded in development mode and the server is not in it, or the reverse.
    OtherMode {
        /// Whether they were founded in development mode.
        dev: bool,
    },
    /// The key that signs the log of a workspace is not in the identity store.
    SigningKeyMissing {
        /// Which.
        workspace: String,
        /// What is missing, and what to do.
        what: String,
    },
    /// The bundle given permits what its own cases forbid.
    BundleUntrue {
        /// Which.
        bundle: Digest,
        /// The cases that came out otherwise.
        cases: Vec<String>,
    },
    /// A bundle that entries refer to is missing or does not compile.
    BundleLost(Digest),
    /// Anything else.
    Plane(PlaneError),
}

impl StartError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_failed",
            Self::Damaged { .. } => "log_damaged",
            Self::OtherBundle { .. } => "bundle_differs",
            Self::OtherMode { .. } => "mode_differs",
            Self::SigningKeyMissing { .. } => "signing_key_missing",
            Self::BundleUntrue { .. } => "bundle_untrue",
            Self::BundleLost(_) => "bundle_lost",
            Self::Plane(error) => error.code(),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Damaged { workspace, what } => {
                write!(f, "the log of workspace {workspace} is refused: {what}")
            }
            Self::SigningKeyMissing { workspace, what } => {
                write!(f, "the log of workspace {workspace} cannot be sealed: {what}")
            }
            Self::OtherBundle { armed, given } => write!(
                f,
                "the bundle given ({given}) is not the one in force ({armed}); start without --bundle \
                 and publish it: placet policy publish --bundle DIR"
            ),
            Self::BundleUntrue { bundle, cases } => {
                write!(f, "the bundle {bundle} fails its own cases: {}", cases.join("; "))
            }
            Self::OtherMode { dev: true } => f.write_str(
                "this data directory was made with --dev; start it with --dev, or choose another --data",
            ),
            Self::OtherMode { dev: false } => f.write_str(
                "this data directory was not made with --dev, which needs no keys; start it without --dev",
            ),
            Self::BundleLost(digest) => {
                write!(f, "the bundle {digest} is in force but is missing or damaged")
            }
            Self::Plane(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<PortError> for StartError {
    fn from(error: PortError) -> Self {
        Self::Store(error)
    }
}

impl From<PlaneError> for StartError {
    fn from(error: PlaneError) -> Self {
        Self::Plane(error)
    }
}
