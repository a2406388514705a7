//! Running the binary: its output, its exit, and a server of it on a free port.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_placet");

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Standard output as exactly one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Insists on an exit code.
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(BIN);
    command.args(args).stdin(Stdio::null());
    // Whoever runs the tests may be signed in somewhere.
    command.env("PLACET_CREDENTIALS", "/dev/null/none");
    for name in
        ["PLACET_URL", "PLACET_KEY", "PLACET_WORKSPACE", "PLACET_TRUST", "PLACET_MASTER_KEY"]
            .into_iter()
            .chain(["PLACET_CA", "PLACET_CERT", "PLACET_CERT_KEY"])
    {
        command.env_remove(name);
    }
    command
}

pub(crate) fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn placet(args: &[&str]) -> Run {
    finish(&mut command(args))
}

/// With something on standard input.
pub(crate) fn fed(args: &[&str], input: &str) -> Run {
    fed_with(args, input, &[])
}

/// With something on standard input and in the environment.
pub(crate) fn fed_with(args: &[&str], input: &str, environment: &[(&str, &str)]) -> Run {
    let mut command = command(args);
    command.envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments does not read on.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A path inside the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub(crate) fn bank() -> String {
    repository("examples/bank").to_str().unwrap().to_owned()
}

pub(crate) fn bank_request(name: &str) -> String {
    format!("{}/requests/{name}.json", bank())
}

/// A server process; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    /// The same for operators, where it has such an address.
    pub(crate) operators: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) dir: TempDir,
}

impl Server {
    /// A development server with the bank's rules.
    pub(crate) fn dev() -> Self {
        Self::start(&["--dev"])
    }

    pub(crate) fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut command = command(&["up", "--listen", "127.0.0.1:0", "--bundle", &bank()]);
        command.args(more).arg("--data").arg(data);
        Self::listening(command, dir)
    }

    /// A server over a directory that is there already.
    pub(crate) fn over(data: &str, more: &[&str]) -> Self {
        let mut command = command(&["up", "--listen", "127.0.0.1:0", "--data", data]);
        command.args(more);
        Self::listening(command, tempfile::tempdir().unwrap())
    }

    /// Stops it and starts it again over the same data, with these flags.
    pub(crate) fn again(mut self, more: &[&str]) -> Self {
        self.stop();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        let data = dir.path().join("data");
        let mut command = command(&["up", "--listen", "127.0.0.1:0"]);
        command.args(more).arg("--data").arg(data);
        let mut again = Self::listening(command, dir);
        again.key = self.key.take();
        again
    }

    /// Any command that says where it listens.
    pub(crate) fn listening(mut command: Command, dir: TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut key, mut operators) = (None, None);
        let url = loop {
            let line = lines.next().expect("the server listens").unwrap();
            if let Some(text) = line.strip_prefix("admin key: ") {
                key = Some(text.to_owned());
            }
            if let Some(url) = line.strip_prefix("operators at ") {
                operators = Some(url.to_owned());
            }
            if let Some((_, url)) = line.split_once("listening on ") {
                break url.trim().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, operators, key, dir }
    }

    pub(crate) fn data(&self) -> String {
        self.dir.path().join("data").to_str().unwrap().to_owned()
    }

    /// A file in its scratch directory.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        finish(command(args).env("PLACET_URL", &self.url))
    }

    /// Runs a command under a key.
    pub(crate) fn run_as(&self, key: &str, args: &[&str]) -> Run {
        finish(command(args).env("PLACET_URL", &self.url).env("PLACET_KEY", key))
    }

    /// The body of what it answers to a GET, in development mode.
    pub(crate) fn get(&self, path: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "{name} to {pid}");
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(&mut self) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
