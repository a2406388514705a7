//! Command-line words: a command, flags, and options with a value. Knows no particular command.

use anyhow::{Result, bail};
use std::str::FromStr;

/// What is left of the command line.
pub(crate) struct Args(Vec<String>);

impl Args {
    /// Everything after the program's name.
    pub(crate) fn from_env() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// Takes the first word.
    pub(crate) fn command(&mut self) -> Option<String> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    /// Takes `name`; whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// Takes `name` and the word behind it.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        self.0.remove(at);
        if at >= self.0.len() {
            bail!("{name} needs a value");
        }
        let text = self.0.remove(at);
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => bail!("{name} does not take {text:?}"),
        }
    }

    /// Everything that is left, for a program that knows it.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0
    }

    /// Fails if a word is left that nobody knows.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => bail!("unknown argument {word:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn args(words: &[&str]) -> Args {
        Args(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn takes_what_it_knows_and_refuses_the_rest() {
        let mut all = args(&["crash", "--kills", "3", "--keep"]);
        assert_eq!(all.command().as_deref(), Some("crash"));
        assert_eq!(all.value::<u32>("--kills").unwrap(), Some(3));
        assert!(all.flag("--keep"));
        assert!(!all.flag("--keep"));
        all.finish().unwrap();
        assert!(args(&["--kills"]).value::<u32>("--kills").is_err());
        assert!(args(&["--kills", "many"]).value::<u32>("--kills").is_err());
        assert!(args(&["--klils"]).finish().is_err());
    }
}
