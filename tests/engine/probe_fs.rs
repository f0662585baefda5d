//! A file system that passes everything on, counts the syncs of log files, and holds them up
//! when told to.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use icecore::Result;
use icecore::fs::{DirEntry, Fs, FsFile, FsLock, LockMode};

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    held: bool,
    waiting: u32,
    syncs: u64,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.held).unwrap();
        state.waiting -= 1;
        state.syncs += 1;
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ProbeFs {
    inner: Arc<dyn Fs>,
    gate: Arc<Gate>,
}

impl ProbeFs {
    pub(crate) fn new(inner: Arc<dyn Fs>) -> Self {
        Self { inner, gate: Arc::default() }
    }

    /// Syncs of log files that have happened.
    pub(crate) fn syncs(&self) -> u64 {
        self.gate.state.lock().unwrap().syncs
    }

    /// From now on a sync of a log file waits for [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.gate.state.lock().unwrap().held = true;
    }

    pub(crate) fn release(&self) {
        self.gate.state.lock().unwrap().held = false;
        self.gate.changed.notify_all();
    }

    /// Waits until a sync is being held up.
    pub(crate) fn wait_held(&self) {
        let state = self.gate.state.lock().unwrap();
        drop(self.gate.changed.wait_while(state, |state| state.waiting == 0).unwrap());
    }

    fn probe(&self, path: &Path, file: Box<dyn FsFile>) -> Box<dyn FsFile> {
        if path.extension().is_some_and(|extension| extension == "log") {
            return Box::new(ProbeFile { inner: file, gate: Arc::clone(&self.gate) });
        }
        file
    }
}

impl Fs for ProbeFs {
    fn create_new(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        Ok(self.probe(path, self.inner.create_new(path)?))
    }
    fn open_append(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        Ok(self.probe(path, self.inner.open_append(path)?))
    }
    fn open_read(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.inner.open_read(path)
    }
    fn file_bytes(&self, path: &Path) -> Result<Option<u64>> {
        self.inner.file_bytes(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.inner.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.inner.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.inner.sync_dir(path)
    }
    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn FsLock>> {
        self.inner.lock(path, mode)
    }
    fn free_bytes(&self, path: &Path) -> Result<u64> {
        self.inner.free_bytes(path)
    }
}

#[derive(Debug)]
struct ProbeFile {
    inner: Box<dyn FsFile>,
    gate: Arc<Gate>,
}

impl FsFile for ProbeFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write_all(bytes)
    }
    fn sync(&mut self) -> Result<()> {
        self.gate.pass();
        self.inner.sync()
    }
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }
    fn set_len(&mut self, bytes: u64) -> Result<()> {
        self.inner.set_len(bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.inner.read_at(offset, buffer)
    }
}

/// A file system that passes everything on, and measures a directory whenever a name changes or
/// becomes durable.
#[derive(Debug, Clone)]
pub(crate) struct PeakFs {
    inner: Arc<dyn Fs>,
    dir: std::path::PathBuf,
    peak: Arc<Mutex<u64>>,
}

impl PeakFs {
    pub(crate) fn new(inner: Arc<dyn Fs>, dir: &Path) -> Self {
        Self { inner, dir: dir.to_owned(), peak: Arc::default() }
    }

    /// The most bytes that the directory took since [`reset`](Self::reset).
    pub(crate) fn peak(&self) -> u64 {
        *self.peak.lock().unwrap()
    }

    pub(crate) fn reset(&self) {
        *self.peak.lock().unwrap() = 0;
    }

    fn measure(&self) {
        // A file may go while they are counted.
        if let Ok(bytes) = icecore::fs::tree_bytes(&*self.inner, &self.dir) {
            let mut peak = self.peak.lock().unwrap();
            *peak = bytes.max(*peak);
        }
    }
}

impl Fs for PeakFs {
    fn create_new(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.measure();
        self.inner.create_new(path)
    }
    fn open_append(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.inner.open_append(path)
    }
    fn open_read(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.inner.open_read(path)
    }
    fn file_bytes(&self, path: &Path) -> Result<Option<u64>> {
        self.inner.file_bytes(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.measure();
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> Result<()> {
        self.measure();
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.measure();
        self.inner.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.inner.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.measure();
        self.inner.sync_dir(path)
    }
    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn FsLock>> {
        self.inner.lock(path, mode)
    }
    fn free_bytes(&self, path: &Path) -> Result<u64> {
        self.inner.free_bytes(path)
    }
}
