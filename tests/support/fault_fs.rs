//! [`SimFs`]: a file system in memory that fails, fills up, and loses power on demand.
//!
//! It keeps what a running process sees apart from what a power cut leaves, as POSIX allows:
//! - a file's bytes are durable once the file was synced; before that each stretch may be there,
//!   be zeros, be garbage, or be missing;
//! - a name made, moved or removed is durable once its directory was synced; before that each such
//!   change happened or not, independently of the others;
//! - after a failed sync the bytes it was about never become durable, though a later sync says so.
//!
//! Deterministic: the same calls, fault and seed give the same image.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::dice::Dice;
use super::disk::{Inode, ROOT, State};
use icecore::fs::{DirEntry, Fs, FsFile, FsLock, LockMode};
use icecore::{Error, Result};

/// What the Nth mutating call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails without effect; later calls work again.
    Error(ErrorKind),
    /// A write stores half its bytes and says that the disk is full; other calls fail like
    /// `Error(StorageFull)`.
    ShortWrite,
    /// The power goes: this call may or may not have happened, every later one fails.
    Cut,
}

/// The file system; clones see the same one.
#[derive(Debug, Clone)]
pub(crate) struct SimFs(Arc<Mutex<State>>);

impl Default for SimFs {
    fn default() -> Self {
        Self::new()
    }
}

impl SimFs {
    /// An empty root directory.
    pub(crate) fn new() -> Self {
        Self::with(vec![Inode::empty_dir()])
    }

    fn with(inodes: Vec<Inode>) -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes,
            calls: 0,
            armed: None,
            fired: false,
            off: false,
            read_only: false,
            capacity: u64::MAX / 2,
            locks: HashMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets the `nth` mutating call from now (1 is the next) meet `fault`.
    pub(crate) fn arm(&self, nth: u64, fault: Fault) {
        let mut state = self.state();
        state.armed = Some((state.calls + nth, fault));
        state.fired = false;
    }

    /// Whether the armed fault was met: a loop over N ends at the first N where it was not.
    pub(crate) fn fired(&self) -> bool {
        self.state().fired
    }

    /// Mutating calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// From now on every mutating call fails.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Bytes that all files together may hold; a write beyond is cut short.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Replaces a file's bytes, durably, as damage or another program would.
    pub(crate) fn set_content(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.find(path).unwrap();
        let Inode::File { live, durable, .. } = &mut state.inodes[inode] else {
            panic!("{} is a directory", path.display())
        };
        *live = bytes.to_vec();
        *durable = bytes.to_vec();
    }

    /// A file's bytes.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        match &state.inodes[state.find(path).unwrap()] {
            Inode::File { live, .. } => live.clone(),
            Inode::Dir { .. } => panic!("{} is a directory", path.display()),
        }
    }

    /// The file system after a power cut and a restart; this one stays as it is. Seed 0 loses
    /// everything that was not synced, 1 keeps it all, others lose and tear at random.
    pub(crate) fn reboot(&self, seed: u64) -> Self {
        let state = self.state();
        let mut dice = Dice::new(seed);
        let mut inodes = Vec::new();
        state.image(ROOT, &mut dice, &mut inodes);
        Self::with(inodes)
    }

    /// The same file system after its process died and another started, the power staying on:
    /// nothing is lost, and nothing has become durable by it.
    pub(crate) fn restart(&self) -> Self {
        Self::with(self.state().inodes.clone())
    }
}

fn named<T>(operation: &'static str, path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::io(operation, path, source))
}

impl SimFs {
    fn open(&self, path: &Path, writable: bool) -> Result<Box<dyn FsFile>> {
        let state = self.state();
        let found = state.alive().and_then(|()| state.find(path));
        let inode = named("open", path, found)?;
        Ok(self.handle(path, inode, writable))
    }

    fn handle(&self, path: &Path, inode: usize, writable: bool) -> Box<dyn FsFile> {
        Box::new(SimFile { fs: self.clone(), path: path.to_owned(), inode, writable })
    }
}

impl Fs for SimFs {
    fn create_new(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        let created = self.state().mutate(|state| {
            let (dir, name) = state.find_parent(path)?;
            if state.find(path).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let file = Inode::File { live: vec![], durable: vec![], sync_failed: false };
            state.link(dir, name, file)
        });
        Ok(self.handle(path, named("create", path, created)?, true))
    }

    fn open_append(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.open(path, true)
    }

    fn open_read(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.open(path, false)
    }

    fn file_bytes(&self, path: &Path) -> Result<Option<u64>> {
        let state = self.state();
        named("stat", path, state.alive())?;
        match state.find(path) {
            Ok(inode) => Ok(Some(match &state.inodes[inode] {
                Inode::File { live, .. } => live.len() as u64,
                Inode::Dir { live, .. } => live.len() as u64,
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("stat", path, error)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        named("rename", from, self.state().mutate(|state| state.rename(from, to)))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        named("link", from, self.state().mutate(|state| state.hard_link(from, to)))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        named("remove", path, self.state().mutate(|state| state.remove(path, false)))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        named("remove", path, self.state().mutate(|state| state.remove(path, true)))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        named("create", path, self.state().mutate(|state| state.create_dir_all(path)))
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let state = self.state();
        let found = state.alive().and_then(|()| state.find(path));
        match &state.inodes[named("list", path, found)?] {
            Inode::Dir { live, .. } => Ok(live
                .iter()
                .map(|(name, &inode)| DirEntry {
                    name: name.clone(),
                    is_dir: matches!(state.inodes[inode], Inode::Dir { .. }),
                })
                .collect()),
            Inode::File { .. } => Err(Error::io("list", path, ErrorKind::NotADirectory.into())),
        }
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        let found = state.alive().and_then(|()| state.find(path));
        let inode = named("sync", path, found)?;
        named("sync", path, state.sync(inode))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn FsLock>> {
        let mut state = self.state();
        named("lock", path, state.alive())?;
        if state.find(path).is_err() {
            if mode == LockMode::Shared {
                return Err(Error::io("lock", path, ErrorKind::NotFound.into()));
            }
            let created = state.mutate(|state| {
                let (dir, name) = state.find_parent(path)?;
                let file = Inode::File { live: vec![], durable: vec![], sync_failed: false };
                state.link(dir, name, file)
            });
            named("lock", path, created)?;
        }
        let holders = state.locks.entry(path.to_owned()).or_default();
        let exclusive = mode == LockMode::Exclusive || holders.contains(&LockMode::Exclusive);
        if exclusive && !holders.is_empty() {
            return Err(Error::Locked { path: path.parent().unwrap_or(path).to_owned() });
        }
        holders.push(mode);
        Ok(Box::new(SimLock { fs: self.clone(), path: path.to_owned() }))
    }

    fn free_bytes(&self, path: &Path) -> Result<u64> {
        let state = self.state();
        named("measure free space at", path, state.alive())?;
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
}

impl FsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Some(holders) = self.fs.state().locks.get_mut(&self.path) {
            holders.pop();
        }
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    path: PathBuf,
    inode: usize,
    writable: bool,
}

impl SimFile {
    fn writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }

    fn read<T>(&self, operation: &'static str, call: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let state = self.fs.state();
        named(operation, &self.path, state.alive())?;
        match &state.inodes[self.inode] {
            Inode::File { live, .. } => Ok(call(live)),
            Inode::Dir { .. } => {
                Err(Error::io(operation, &self.path, ErrorKind::IsADirectory.into()))
            }
        }
    }
}

impl FsFile for SimFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.writable().and_then(|()| self.fs.state().write(self.inode, bytes));
        named("write", &self.path, written)
    }

    fn sync(&mut self) -> Result<()> {
        named("sync", &self.path, self.fs.state().sync(self.inode))
    }

    fn len(&self) -> Result<u64> {
        self.read("stat", |live| live.len() as u64)
    }

    fn set_len(&mut self, bytes: u64) -> Result<()> {
        let cut = self.writable().and_then(|()| {
            self.fs.state().mutate(|state| match &mut state.inodes[self.inode] {
                Inode::File { live, .. } => {
                    live.resize(usize::try_from(bytes).unwrap(), 0);
                    Ok(())
                }
                Inode::Dir { .. } => Err(ErrorKind::IsADirectory.into()),
            })
        });
        named("cut", &self.path, cut)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.read("read", |live| {
            let rest = usize::try_from(offset).ok().and_then(|at| live.get(at..));
            let rest = rest.unwrap_or_default();
            let bytes = rest.len().min(buffer.len());
            buffer[..bytes].copy_from_slice(&rest[..bytes]);
            bytes
        })
    }
}
