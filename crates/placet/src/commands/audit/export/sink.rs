//! Where an export goes. A file is continued after its last whole record; what a kill or a full
//! disk has left of the next one is cut off first.

use super::{Format, Held};
use crate::exit::Fault;
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Longest end of a file that is searched for a whole record; an entry has at most 16 KiB.
const TAIL_BYTES: u64 = 1 << 20;

/// What a file holds already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where its last whole record ends; 0 where there is none.
    pub(super) end: u64,
    /// That record.
    pub(super) last: Option<Held>,
}

/// Looks at the file to write and changes nothing: it may turn out to be of another log.
pub(super) fn look(path: Option<&Path>, format: Format) -> Result<Found> {
    let nothing = Found { end: 0, last: None };
    let Some(path) = path else { return Ok(nothing) };
    let context = || format!("{} cannot be continued", path.display());
    match File::open(path) {
        Ok(mut file) => found(&mut file, format).with_context(context),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(nothing),
        Err(error) => Err(error).with_context(context),
    }
}

pub(super) struct Sink {
    out: BufWriter<Box<dyn Write>>,
    file: Option<File>,
}

impl Sink {
    /// Opens a file behind what it holds, or standard output.
    pub(super) fn open(path: Option<&Path>, format: Format, end: u64) -> Result<Self> {
        let (out, file): (Box<dyn Write>, _) = match path {
            None => (Box::new(std::io::stdout()), None),
            Some(path) => {
                let context = || format!("{} cannot be written", path.display());
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(false).mode(0o600);
                let mut file = options.open(path).with_context(context)?;
                file.set_len(end).with_context(context)?;
                file.seek(SeekFrom::End(0)).with_context(context)?;
                (Box::new(file.try_clone()?), Some(file))
            }
        };
        let mut sink = Self { out: BufWriter::new(out), file };
        if end == 0 {
            sink.write(format.header().as_bytes())?;
        }
        Ok(sink)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(broken)
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(broken)
    }

    /// Makes all of it durable.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        if let Some(file) = &self.file {
            file.sync_all().context("the export could not be made durable")?;
        }
        Ok(())
    }
}

fn broken(error: std::io::Error) -> anyhow::Error {
    if error.kind() == ErrorKind::BrokenPipe {
        let fault = Fault::new("failed", "whoever read the export has gone");
        return fault.next("what was written is whole up to its last line; go on after it").into();
    }
    anyhow::Error::from(error).context("the export could not be written")
}

fn found(file: &mut File, format: Format) -> Result<Found> {
    let len = file.metadata()?.len();
    let start = len.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let foreign = || {
        let fault = Fault::usage("the file holds something else than such an export");
        anyhow::Error::from(fault.next("name another file with --out"))
    };
    let Some(newline) = tail.iter().rposition(|byte| *byte == b'\n') else {
        // Nothing but the torn beginning of a first line, or nothing at all.
        let first = tail.first().is_none_or(|byte| matches!(byte, b'{' | b'w'));
        return if start == 0 && first { Ok(Found { end: 0, last: None }) } else { Err(foreign()) };
    };
    let end = start + newline as u64 + 1;
    let before = tail.get(..newline).unwrap_or_default();
    let from = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line =
        std::str::from_utf8(before.get(from..).unwrap_or_default()).map_err(|_| foreign())?;
    let line = line.trim_end_matches('\r');
    if !format.header().is_empty() && start == 0 && from == 0 {
        let header = line == format.header().trim_end();
        return if header { Ok(Found { end, last: None }) } else { Err(foreign()) };
    }
    let last = format.held(line).ok_or_else(foreign)?;
    Ok(Found { end, last: Some(last) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the file is that is continued, and the place of its last record.
    fn resumed(format: Format, content: &str) -> Result<(u64, Option<(String, u64)>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, content).unwrap();
        let found = look(Some(&path), format)?;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content, "looking changes nothing");
        drop(Sink::open(Some(&path), format, found.end)?);
        let held = std::fs::read_to_string(&path).unwrap();
        Ok((held.len() as u64, found.last.map(|last| (last.log, last.index))))
    }

    #[test]
    fn a_file_is_continued_after_its_last_whole_record() {
        let line = "{\"workspace\":\"a\",\"index\":7}\n";
        let whole = Some(("a".to_owned(), 7));
        let length = line.len() as u64;
        assert_eq!(resumed(Format::Jsonl, line).unwrap(), (length, whole.clone()));
        assert_eq!(resumed(Format::Jsonl, &format!("{line}{{\"wor")).unwrap(), (length, whole));
        assert_eq!(resumed(Format::Jsonl, "{\"wor").unwrap(), (0, None));
        assert_eq!(resumed(Format::Jsonl, "").unwrap(), (0, None));
        let header = Format::Csv.header();
        let length = header.len() as u64;
        assert_eq!(resumed(Format::Csv, "").unwrap(), (length, None));
        assert_eq!(resumed(Format::Csv, "workspa").unwrap(), (length, None));
        assert_eq!(resumed(Format::Csv, &format!("{header}a,1")).unwrap(), (length, None));
        let (_, last) = resumed(Format::Csv, &format!("{header}\"a\",12,x\r\nb,")).unwrap();
        assert_eq!(last, Some(("a".to_owned(), 12)));
        let event = "{\"id\":\"placet/0/a/9\"}\n";
        let (_, last) = resumed(Format::Cloudevents, event).unwrap();
        assert_eq!(last, Some(("placet/0/a".to_owned(), 9)));
    }

    #[test]
    fn a_file_of_something_else_is_left_as_it_is() {
        for (format, content) in [
            (Format::Jsonl, "shopping list"),
            (Format::Jsonl, "milk\neggs\n"),
            (Format::Csv, "{\"workspace\":\"a\",\"index\":7}\n"),
            (Format::Ocsf, "{\"workspace\":\"a\",\"index\":7}\n"),
        ] {
            assert!(resumed(format, content).is_err(), "{content}");
        }
    }
}
