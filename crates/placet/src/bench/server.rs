//! The servers under measurement, as processes of their own: the real one, and one that answers a
//! constant of the same size to the same body.

use anyhow::{Context, Result, bail};
use clap::Args;
use placet_server::ServerOptions;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Arguments of the hidden `bench constant`.
#[derive(Args, Debug)]
pub(super) struct Constant {
    /// Bytes of the answer's body
    #[arg(long)]
    body_len: usize,
}

/// Serves the constant until killed.
pub(super) async fn constant(args: Constant) -> Result<ExitCode> {
    let listener = placet_server::bind(([127, 0, 0, 1], 0).into())?;
    println!("listening on http://{}", listener.local_addr()?);
    let router = placet_server::constant_router(args.body_len);
    let never = std::future::pending();
    placet_server::serve_router(listener, router, &ServerOptions::default(), never).await?;
    Ok(ExitCode::SUCCESS)
}

/// A server process; killed when dropped.
pub(super) struct Running {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    /// `127.0.0.1:port`
    pub(super) address: String,
    /// The same for operators, where it has such an address.
    pub(super) operators: Option<String>,
    /// The first admin's key, on a first start.
    pub(super) key: Option<String>,
}

impl Running {
    /// Starts the real server over a fresh data directory.
    pub(super) async fn placet(data: &Path, bundle: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["up", "--listen", "127.0.0.1:0", "--listen-operators", "127.0.0.1:0"]);
        command.args(["--admission", "0", "--data"]).arg(data).arg("--bundle").arg(bundle);
        Self::start(command).await
    }

    /// The real server, whose appends hang while `control` says so.
    pub(super) async fn ill(data: &Path, bundle: &Path, control: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "ill", "--listen", "127.0.0.1:0", "--admission", "0", "--data"]);
        command.arg(data).arg("--bundle").arg(bundle).arg("--control").arg(control);
        Self::start(command).await
    }

    /// The real server, whose files may have so many blocks of 512 bytes: a write beyond fails.
    pub(super) async fn limited(data: &Path, bundle: &Path, blocks: u64) -> Result<Self> {
        let mut command = Command::new("sh");
        // Ignored, the signal leaves an error for whoever writes; it stays ignored over the exec.
        command.args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh"]);
        command.arg(blocks.to_string()).arg(std::env::current_exe()?);
        command.args(["up", "--listen", "127.0.0.1:0", "--admission", "0", "--data"]);
        command.arg(data).arg("--bundle").arg(bundle);
        Self::start(command).await
    }

    /// Starts the constant.
    pub(super) async fn constant(body_len: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "constant", "--body-len", &body_len.to_string()]);
        Self::start(command).await
    }

    async fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut stdout = BufReader::new(stdout);
        let (mut key, mut operators) = (None, None);
        let mut line = String::new();
        loop {
            line.clear();
            if stdout.read_line(&mut line).await? == 0 {
                bail!("the server ended before it listened");
            }
            if let Some(text) = line.trim().strip_prefix("admin key: ") {
                key = Some(text.to_owned());
            }
            if let Some(url) = line.trim().strip_prefix("operators at http://") {
                operators = Some(url.to_owned());
            }
            if let Some(url) = line.trim().strip_prefix("listening on http://") {
                let address = url.to_owned();
                return Ok(Self { child, _stdout: stdout, address, operators, key });
            }
        }
    }

    /// Process id.
    pub(super) fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Stops it and waits.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

/// Seconds of CPU that a process has used.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command name stands in parentheses and may hold anything; fields count from after it.
    let rest = stat.rsplit_once(')').context("unexpected /proc stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    let sum = ticks(11).context("utime")? + ticks(12).context("stime")?;
    Ok(sum / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory of a process, bytes.
pub(super) fn resident_bytes(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}

/// Bytes that a process has caused to be written.
pub(super) fn written_bytes(pid: u32) -> Result<f64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line =
        io.lines().find_map(|line| line.strip_prefix("write_bytes:")).context("write_bytes")?;
    Ok(line.trim().parse()?)
}
