//! `sim`: builds the simulator with the rest of the workspace and hands it its words. Owns nothing of
//! what is simulated: that is a crate of its own, which xtask must not depend on.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Runs the simulator with `words`.
///
/// # Errors
/// It does not build, or a seed failed; it has said which.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<()> {
    seeds(&crate::ci::build(root)?.join("placet-sim"), words)
}

/// As [`run`], with the simulator at `binary`.
pub(crate) fn seeds(binary: &Path, words: &[String]) -> Result<()> {
    let status = Command::new(binary).args(words).status();
    let status = status.with_context(|| format!("{} cannot be started", binary.display()))?;
    if !status.success() {
        bail!("the simulation ended with {status}");
    }
    Ok(())
}
