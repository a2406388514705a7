//! Kills from beside while a flush hangs. The server is the real one, as a process of its own, but for its journal: an
//! append waits as long as a file is there. Owns that file; refuses to alter anything else.

use super::super::server::Running;
use super::load::wait;
use super::trip::{Place, Scene, Times};
use crate::commands::up::{self, Up};
use anyhow::{Context, Result};
use clap::Args;
use placet_runtime::Stores;
use placet_runtime::ports::{AppendError, Batch, Journal, PortError, WorkspaceNo};
use placet_types::ids::WorkspaceName;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The file while which appends hang.
const HANG: &str = "hang";
/// The file by which an append that hangs says so.
const CAUGHT: &str = "caught";
/// The longest time that a flush goes on hanging after the kill was asked for, in milliseconds: some are released
/// before the kill can have taken effect, most after.
const RELEASED_MS: u64 = 150;

/// Arguments of the hidden `bench ill`.
#[derive(Args, Debug)]
pub(in crate::bench) struct Ill {
    #[command(flatten)]
    up: Up,
    /// Directory in which the file that makes appends hang is looked for
    #[arg(long)]
    control: PathBuf,
}

/// Serves as `placet up` does, over a journal that can be made to hang.
pub(in crate::bench) async fn serve(args: Ill) -> Result<ExitCode> {
    let control = args.control;
    let hangs = move |stores: Stores| Stores {
        journal: Box::new(Hanging { journal: stores.journal, control }),
        ..stores
    };
    up::run_over(args.up, hangs).await
}

struct Hanging {
    journal: Box<dyn Journal>,
    control: PathBuf,
}

impl Journal for Hanging {
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let (hang, caught) = (self.control.join(HANG), self.control.join(CAUGHT));
        if hang.exists() {
            // Whoever measures waits for it, and says so when it does not come.
            drop(File::create(&caught));
            while hang.exists() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        self.journal.append(batches)
    }

    fn create_workspace(&mut self, name: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        self.journal.create_workspace(name)
    }

    fn put_bundle(&mut self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), PortError> {
        self.journal.put_bundle(digest, bytes)
    }

    fn idle(&mut self) {
        self.journal.idle();
    }
}

/// Trips by file and by signal, each while an append hangs that is let go at another instant after it.
pub(super) async fn part(place: &Place, connections: usize, trips: usize) -> Result<Vec<Times>> {
    let control = place.data.with_extension("control");
    std::fs::create_dir_all(&control)?;
    let server = Running::ill(&place.data, &place.bundle, &control).await?;
    let scene = Scene::start(server, place, connections).await?;
    let mut all = super::ways(true);
    let count = all.len();
    for trip in 0..trips.max(count) {
        let times = all.get_mut(trip % count).context("no way")?;
        scene.works().await?;
        drop(File::create(control.join(HANG))?);
        wait(async || Ok(control.join(CAUGHT).exists())).await?;
        let asked = scene.ask(&times.way).await?;
        // Spread evenly, and the same each time.
        let released = (trip as u64).wrapping_mul(37) % (RELEASED_MS + 1);
        tokio::time::sleep(Duration::from_millis(released)).await;
        std::fs::remove_file(control.join(CAUGHT))?;
        std::fs::remove_file(control.join(HANG))?;
        scene.recorded().await?;
        let once = scene.settled(&times.way, asked).await?;
        times.add(&once);
        scene.lift(&times.way).await?;
    }
    scene.end().await?;
    Ok(all)
}
