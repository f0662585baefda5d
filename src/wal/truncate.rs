//! Removes log files that parts have made superfluous.

use std::path::Path;

use super::format::file_path;
use super::reader::live_files;
use crate::error::Result;
use crate::fs::Fs;

/// Removes the files in `dir` that hold nothing above `watermark`, oldest first, never the newest.
/// Returns how many. To be called once the catalog with that watermark is durable: a crash
/// halfway leaves files that replay passes over and the next truncation removes.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) where a file's
/// header is bad.
pub fn truncate(fs: &dyn Fs, dir: &Path, watermark: u64) -> Result<usize> {
    let covered = live_files(fs, dir, watermark)?.covered;
    for &number in &covered {
        fs.remove_file(&file_path(dir, number))?;
    }
    if !covered.is_empty() {
        fs.sync_dir(dir)?;
    }
    Ok(covered.len())
}
