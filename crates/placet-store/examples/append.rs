//! Measures appends of the journal: `append [batches] [entries per batch] [bytes per frame]`.

use placet_runtime::ports::{Batch, Journal};
use placet_store::{Create, DataDir};
use placet_types::ids::WorkspaceName;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

fn cpu_us() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let mut arg = |default| args.next().unwrap_or(Ok(default));
    let (batches, count, bytes) = (arg(1000)?, arg(256)?, arg(2560)?);
    let temp = tempfile::tempdir_in(std::env::var_os("DIR").unwrap_or_else(|| "/tmp".into()))?;
    let dir = DataDir::open(&temp.path().join("data"), Create::Yes)?;
    let mut journal = dir.journal()?;
    let name = WorkspaceName::parse("bank").ok_or("name")?;
    let workspace = journal.create_workspace(&name)?;
    let frames = vec![0x5a; count as usize * bytes as usize];
    let mut batch =
        Batch { workspace, first_index: 0, count, epoch: 1, frames, tree_state: vec![0; 640] };
    let (start, cpu) = (Instant::now(), cpu_us());
    let mut times = Vec::new();
    for _ in 0..batches {
        let at = Instant::now();
        journal.append(std::slice::from_ref(&batch))?;
        times.push(at.elapsed().as_micros());
        batch.first_index += u64::from(count);
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_us() - cpu);
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or_default();
    println!(
        "{batches} batches of {count} x {bytes} B: {:.0} batches/s, {:.0} entries/s, {} us CPU per batch",
        f64::from(batches) / wall,
        f64::from(batches) * f64::from(count) / wall,
        cpu / i64::from(batches),
    );
    println!("append: p50 {} us, p99 {} us, worst {} us", at(500), at(990), at(999));
    Ok(())
}
