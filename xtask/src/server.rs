//! A server process under test: started on a free port, its address read from what it prints, and
//! killed without warning. Owns the process; knows nothing of what the server answers.

use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a start, recovery included, may take.
const START: Duration = Duration::from_secs(60);
/// Lines of output that are kept for an error message.
const TAIL_LINES: usize = 20;

/// A scratch directory, removed at the end unless it is to be kept.
pub(crate) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A fresh directory; its name has the process and the instant, so that kept ones stay apart.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) fn new(name: &str, keep: bool) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let name = format!("placet-{name}-{}-{now}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)
            .with_context(|| format!("{} cannot be created", path.display()))?;
        Ok(Self { path, keep })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it in place.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // A directory that stays behind is a nuisance and no failure.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    address: String,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Server {
    /// The command that serves `data` with the rules in `bundle`.
    pub(crate) fn command(binary: &Path, data: &Path, bundle: &Path) -> Command {
        let mut command = Command::new(binary);
        command.arg("up").arg("--data").arg(data).arg("--bundle").arg(bundle);
        command.args(["--listen", "127.0.0.1:0", "--dev"]);
        command
    }

    /// Starts `command` and waits until it says where it listens.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is silent for too long.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = spawn(&mut command)?;
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, receiver) = channel();
        drain(child.stdout.take(), &tail, sender.clone());
        drain(child.stderr.take(), &tail, sender);
        let mut server = Self { child, address: String::new(), tail };
        server.address = server.wait(&receiver)?;
        Ok(server)
    }

    fn wait(&mut self, receiver: &Receiver<String>) -> Result<String> {
        let deadline = Instant::now() + START;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(left) {
                Ok(line) => {
                    if let Some(address) = address(&line) {
                        return Ok(address);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the server did not say where it listens in {START:?}\n{}", self.tail())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("the server ended at its start with {status}\n{}", self.tail())
                }
            }
        }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether the process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines it printed.
    pub(crate) fn tail(&self) -> String {
        match self.tail.lock() {
            Ok(tail) => tail.iter().map(|line| format!("    | {line}\n")).collect(),
            Err(_) => String::new(),
        }
    }

    /// Stops it as an operator does (SIGTERM); whether it has ended within the time.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(crate) fn stop(&mut self, within: Duration) -> Result<bool> {
        let mut command = Command::new("kill");
        // It may have ended already: then there is nobody to tell.
        command.arg(self.child.id().to_string()).stderr(Stdio::null()).status()?;
        let deadline = Instant::now() + within;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(true)
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `command` and kills it after `after`, wherever it is then.
///
/// # Errors
/// When it cannot be started or killed.
pub(crate) fn start_and_kill(mut command: Command, after: Duration) -> Result<()> {
    let mut child = spawn(&mut command)?;
    let deadline = Instant::now() + after;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn spawn(command: &mut Command) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))
}

fn drain(
    from: Option<impl Read + Send + 'static>,
    tail: &Arc<Mutex<VecDeque<String>>>,
    sender: Sender<String>,
) {
    let Some(from) = from else { return };
    let tail = Arc::clone(tail);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Ok(mut tail) = tail.lock() {
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line.clone());
            }
            // Nobody waits any longer once the address is known.
            let _ = sender.send(line);
        }
    });
}

/// The address in a line `… listening on http://host:port`.
fn address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on http://")?;
    let address: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != '/').collect();
    let port = address.rsplit_once(':')?.1.parse::<u16>().ok()?;
    (port > 0).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_found_in_what_is_printed() {
        let found = address("placet: listening on http://127.0.0.1:4711/ (dev)");
        assert_eq!(found.as_deref(), Some("127.0.0.1:4711"));
        assert_eq!(address("listening on http://127.0.0.1:0"), None);
        assert_eq!(address("starting"), None);
    }
}
