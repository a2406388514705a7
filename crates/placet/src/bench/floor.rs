//! The flush floor: the same bytes appended to a growing file and made durable with one
//! `fdatasync`, as the write-ahead log grows.

use anyhow::Result;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends `bytes` and flushes, for `span`; seconds per flush.
pub(super) fn measure(dir: &Path, bytes: usize, span: Duration) -> Result<Vec<f64>> {
    let path = dir.join("floor");
    let mut file = File::create(&path)?;
    let block = vec![0x5a_u8; bytes.max(512)];
    let mut out = Vec::new();
    let started = Instant::now();
    while started.elapsed() < span {
        let before = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        out.push(before.elapsed().as_secs_f64());
    }
    std::fs::remove_file(path)?;
    Ok(out)
}

/// The value at quantile `q` of `values`.
pub(super) fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let at = ((values.len() - 1) as f64 * q).round() as usize;
    values[at.min(values.len() - 1)]
}
