//! The library that stands between the server and its system calls: built here, told which call is
//! to fail, and its log read back. Owns what a loss of power leaves of files; knows nothing of what
//! is in them.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("shim.c");

/// How the call fails and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// EIO, the call is not made, and in the end everything that was not flushed is lost.
    EioLost,
    /// EIO, but the call was made and stays.
    EioKept,
    /// ENOSPC, a write is half made.
    Enospc,
    /// Killed before the call.
    Kill,
    /// Killed after the call.
    KillAfter,
    /// Power is lost in the midst of the call: what was not flushed is gone.
    Power,
}

impl Mode {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::EioLost, Self::EioKept, Self::Enospc, Self::Kill, Self::KillAfter, Self::Power];

    /// As the library and the command line know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EioLost => "eio-lost",
            Self::EioKept => "eio-kept",
            Self::Enospc => "enospc",
            Self::Kill => "kill",
            Self::KillAfter => "kill-after",
            Self::Power => "power",
        }
    }

    /// Whether the process ends at the fault.
    pub(crate) fn kills(self) -> bool {
        matches!(self, Self::Kill | Self::KillAfter | Self::Power)
    }

    /// Whether what was not flushed is lost afterwards.
    pub(crate) fn loses(self) -> bool {
        matches!(self, Self::EioLost | Self::Power)
    }
}

/// One call that is to fail: the `nth` `call` on `file`, digits in whose name are one `#`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) call: String,
    pub(crate) file: String,
    pub(crate) nth: u64,
    pub(crate) mode: Mode,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} {}", self.call, self.file, self.nth, self.mode.name())
    }
}

impl std::str::FromStr for Point {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [call, file, nth, mode] = words[..] else { return Err(()) };
        Ok(Self {
            call: call.to_owned(),
            file: file.to_owned(),
            nth: nth.parse().map_err(|_| ())?,
            mode: Mode::ALL.into_iter().find(|known| known.name() == mode).ok_or(())?,
        })
    }
}

/// The built library.
pub(crate) struct Shim(PathBuf);

impl Shim {
    /// Builds it into `dir`.
    ///
    /// # Errors
    /// When there is no C compiler, which building SQLite needs as well.
    pub(crate) fn build(dir: &Path) -> Result<Self> {
        let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
        std::fs::write(&source, SOURCE)?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o"]);
        let built = command.arg(&library).arg(&source).output().context("no C compiler (cc)")?;
        if !built.status.success() {
            bail!("the shim does not build:\n{}", String::from_utf8_lossy(&built.stderr));
        }
        Ok(Self(library))
    }

    /// What the environment of a program must hold.
    pub(crate) fn environment(
        &self,
        data: &Path,
        log: &Path,
        point: Option<&Point>,
    ) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("LD_PRELOAD", self.0.display().to_string()),
            ("PLACET_FAULT_DIR", format!("{}/", data.display())),
            ("PLACET_FAULT_LOG", log.display().to_string()),
        ];
        all.extend(point.map(|point| ("PLACET_FAULT_POINT", point.to_string())));
        all
    }
}

impl Shim {
    /// For a start after a loss of power: the machine was booted again, and `file` names the boot.
    pub(crate) fn booted(&self, file: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.0.display().to_string()),
            ("PLACET_FAULT_BOOT", file.display().to_string()),
        ]
    }
}

/// The file that appears at the fault.
pub(crate) fn hit(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".hit");
    name.into()
}

/// A record of the log.
#[derive(Debug, PartialEq, Eq)]
enum Record<'a> {
    Call(&'a str, &'a str),
    /// A write (`to` is `None`) or a truncation: where, how long the file was, what stood there.
    Changed {
        path: &'a str,
        at: u64,
        size: u64,
        old: &'a [u8],
    },
    Flushed(&'a str),
    FlushFailed(&'a str),
    Renamed(&'a str, &'a str),
    Unlinked(&'a str),
}

/// Where, how long the file was, and what stood there.
type Overwritten<'a> = (u64, u64, &'a [u8]);

fn records(log: &[u8]) -> Result<Vec<Record<'_>>> {
    let mut rest = log;
    let mut all = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).context("a line of the log")?;
        rest = &rest[end + 1..];
        let words: Vec<&str> = line.split(' ').collect();
        let record = match words[..] {
            ["C", call, file] => Record::Call(call, file),
            ["W" | "T", path, at, size, len] => {
                let len: usize = len.parse()?;
                // The process may have been killed while it wrote this: the call was not made.
                let Some(old) = rest.get(..len).filter(|_| rest.len() > len) else { break };
                rest = &rest[len + 1..];
                Record::Changed { path, at: at.parse()?, size: size.parse()?, old }
            }
            ["S", path] => Record::Flushed(path),
            ["F", path] => Record::FlushFailed(path),
            ["R", from, to] => Record::Renamed(from, to),
            ["U", path] => Record::Unlinked(path),
            _ => bail!("the log of the shim has the line {line:?}"),
        };
        all.push(record);
    }
    Ok(all)
}

/// How often each call was made on each file.
pub(crate) fn counts(log: &Path) -> Result<BTreeMap<(String, String), u64>> {
    let bytes = std::fs::read(log).with_context(|| format!("{}", log.display()))?;
    let mut counts = BTreeMap::new();
    for record in records(&bytes)? {
        if let Record::Call(call, file) = record {
            *counts.entry((call.to_owned(), file.to_owned())).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Takes back in `data` what was never flushed, as a loss of power may. With `choose` only some of
/// it: pages reach the disk in any order. Names are taken for durable at once.
///
/// # Errors
/// When a file cannot be changed.
pub(crate) fn lose(log: &Path, data: &Path, mut choose: impl FnMut() -> bool) -> Result<usize> {
    let bytes = std::fs::read(log)?;
    let mut pending: BTreeMap<String, Vec<Overwritten<'_>>> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    for record in records(&bytes)? {
        match record {
            Record::Call(..) => {}
            Record::Changed { path, at, size, old } => {
                pending.entry(path.to_owned()).or_default().push((at, size, old));
            }
            // After a failed flush the pages count as clean: a later one does not write them.
            Record::Flushed(path) if !failed.contains(path) => {
                pending.remove(path);
            }
            Record::Flushed(_) => {}
            Record::FlushFailed(path) => {
                failed.insert(path.to_owned());
            }
            Record::Renamed(from, to) => {
                let moved = pending.remove(from).unwrap_or_default();
                pending.insert(to.to_owned(), moved);
            }
            Record::Unlinked(path) => {
                pending.remove(path);
            }
        }
    }
    let mut lost = 0;
    for (path, changes) in pending {
        let name = data.join(&path);
        if !name.is_file() {
            continue;
        }
        let file = OpenOptions::new().write(true).open(&name)?;
        for (at, size, old) in changes.into_iter().rev() {
            if !choose() {
                continue;
            }
            lost += 1;
            file.write_all_at(old, at)?;
            // What it was before, be it shorter or longer.
            file.set_len(size)?;
        }
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_as_it_is_written() {
        for mode in Mode::ALL {
            let point = Point { call: "fsync".into(), file: "a/#.b".into(), nth: 7, mode };
            assert_eq!(point.to_string().parse(), Ok(point));
        }
        assert!("fsync a 1 maybe".parse::<Point>().is_err());
        assert!("fsync a kill".parse::<Point>().is_err());
    }

    #[test]
    fn what_was_not_flushed_is_taken_back() {
        let scratch = crate::server::Scratch::new("shim", false).unwrap();
        let (log, data) = (scratch.path().join("log"), scratch.path().join("data"));
        std::fs::create_dir(&data).unwrap();
        let check = |before: &[u8], records: &[u8], wanted: &[u8]| {
            std::fs::write(data.join("f"), before).unwrap();
            std::fs::write(&log, records).unwrap();
            lose(&log, &data, || true).unwrap();
            assert_eq!(std::fs::read(data.join("f")).unwrap(), wanted);
        };
        check(b"abXXef", b"C pwrite64 f\nW f 2 6 2\ncd\n", b"abcdef");
        check(b"abXXef", b"W f 2 6 2\ncd\nS f\n", b"abXXef");
        check(b"abXXef", b"W f 2 6 2\ncd\nF f\nS f\n", b"abcdef");
        check(b"abcdefgh", b"W f 6 6 0\n\n", b"abcdef");
        check(b"ab", b"T f 2 6 4\ncdef\n", b"abcdef");
        check(b"abZ", b"W f 1 2 1\nb\nW f 1 3 1\nX\nW f 2 3 1", b"ab");
        check(b"new", b"W g 0 0 0\n\nR g f\n", b"");
        check(b"new", b"W f 0 0 0\n\nU f\n", b"new");
    }
}
