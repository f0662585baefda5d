//! What [`SimFs`](super::fault_fs::SimFs) keeps: inodes as the process sees them and as a power cut
//! leaves them, and the fault that is armed.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use icecore::fs::LockMode;

use super::dice::Dice;
use super::fault_fs::Fault;

#[derive(Debug)]
pub(super) struct State {
    pub(super) inodes: Vec<Inode>,
    pub(super) calls: u64,
    pub(super) armed: Option<(u64, Fault)>,
    pub(super) fired: bool,
    pub(super) off: bool,
    pub(super) read_only: bool,
    pub(super) capacity: u64,
    pub(super) locks: HashMap<PathBuf, Vec<LockMode>>,
}

#[derive(Debug, Clone)]
pub(super) enum Inode {
    File { live: Vec<u8>, durable: Vec<u8>, sync_failed: bool },
    Dir { live: Names, durable: Names, pending: Vec<Change> },
}

pub(super) type Names = BTreeMap<OsString, usize>;

#[derive(Debug, Clone)]
pub(super) enum Change {
    Link(OsString, usize),
    Unlink(OsString),
    Rename(OsString, OsString, usize),
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

/// What a mutating call has to do.
pub(super) enum Verdict {
    Go,
    Fail(ErrorKind),
    /// Half the bytes, then fail.
    Short,
    /// Take effect in memory only, then the power is off.
    Last,
}

pub(super) const ROOT: usize = 0;

impl Inode {
    pub(super) fn empty_dir() -> Self {
        Self::Dir { live: Names::new(), durable: Names::new(), pending: Vec::new() }
    }
}

impl State {
    /// Copies what is left of an inode and all below it; returns its new number.
    pub(super) fn image(&self, inode: usize, dice: &mut Dice, out: &mut Vec<Inode>) -> usize {
        let number = out.len();
        match &self.inodes[inode] {
            Inode::File { live, durable, .. } => {
                let left = dice.tear(live, durable);
                out.push(Inode::File { live: left.clone(), durable: left, sync_failed: false });
            }
            Inode::Dir { durable, pending, .. } => {
                let mut left = durable.clone();
                pending.iter().for_each(|change| {
                    if dice.keeps() {
                        change.apply(&mut left);
                    }
                });
                out.push(Inode::empty_dir());
                let names: Names = left
                    .into_iter()
                    .map(|(name, child)| (name, self.image(child, dice, out)))
                    .collect();
                out[number] =
                    Inode::Dir { live: names.clone(), durable: names, pending: Vec::new() };
            }
        }
        number
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        path.components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name),
                _ => None,
            })
            .try_fold(ROOT, |dir, name| match &self.inodes[dir] {
                Inode::Dir { live, .. } => {
                    live.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
                }
                Inode::File { .. } => Err(ErrorKind::NotADirectory.into()),
            })
    }

    pub(super) fn find_parent<'p>(&self, path: &'p Path) -> io::Result<(usize, &'p OsStr)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    pub(super) fn change(&mut self, dir: usize, change: Change) -> io::Result<()> {
        let Inode::Dir { live, pending, .. } = &mut self.inodes[dir] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        change.apply(live);
        pending.push(change);
        Ok(())
    }

    pub(super) fn link(&mut self, dir: usize, name: &OsStr, inode: Inode) -> io::Result<usize> {
        let number = self.inodes.len();
        self.inodes.push(inode);
        self.change(dir, Change::Link(name.to_owned(), number))?;
        Ok(number)
    }

    /// Bytes of the files that have a name.
    pub(super) fn used(&self) -> u64 {
        self.used_below(ROOT)
    }

    pub(super) fn used_below(&self, inode: usize) -> u64 {
        match &self.inodes[inode] {
            Inode::File { live, .. } => live.len() as u64,
            Inode::Dir { live, .. } => live.values().map(|&child| self.used_below(child)).sum(),
        }
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    pub(super) fn verdict(&mut self) -> io::Result<Verdict> {
        self.alive()?;
        if self.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        self.calls += 1;
        let Some((_, fault)) = self.armed.filter(|&(nth, _)| nth == self.calls) else {
            return Ok(Verdict::Go);
        };
        self.fired = true;
        Ok(match fault {
            Fault::Error(kind) => Verdict::Fail(kind),
            Fault::ShortWrite => Verdict::Short,
            Fault::Cut => {
                self.off = true;
                Verdict::Last
            }
        })
    }

    /// Runs a mutating call that has its effect at once or not at all.
    pub(super) fn mutate<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.verdict()? {
            Verdict::Go => call(self),
            Verdict::Fail(kind) => Err(kind.into()),
            Verdict::Short => Err(ErrorKind::StorageFull.into()),
            Verdict::Last => {
                call(self)?;
                Err(io::Error::other("the power went"))
            }
        }
    }

    /// Runs a sync: at a power cut it has not happened, and what it was about is up to the dice.
    pub(super) fn sync(&mut self, inode: usize) -> io::Result<()> {
        let verdict = self.verdict()?;
        match (&mut self.inodes[inode], verdict) {
            (Inode::File { live, durable, sync_failed }, Verdict::Go) => {
                if !*sync_failed {
                    durable.clone_from(live);
                }
                Ok(())
            }
            (Inode::Dir { live, durable, pending }, Verdict::Go) => {
                durable.clone_from(live);
                pending.clear();
                Ok(())
            }
            (_, Verdict::Last) => Err(io::Error::other("the power went")),
            (inode, verdict) => {
                if let Inode::File { sync_failed, .. } = inode {
                    *sync_failed = true;
                }
                Err(if let Verdict::Fail(kind) = verdict { kind } else { ErrorKind::StorageFull }
                    .into())
            }
        }
    }

    pub(super) fn write(&mut self, inode: usize, bytes: &[u8]) -> io::Result<()> {
        let verdict = self.verdict()?;
        let room = usize::try_from(self.capacity.saturating_sub(self.used())).unwrap();
        let Inode::File { live, .. } = &mut self.inodes[inode] else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let (stored, result) = match verdict {
            Verdict::Go if bytes.len() > room => (room, Err(ErrorKind::StorageFull.into())),
            Verdict::Go => (bytes.len(), Ok(())),
            Verdict::Fail(kind) => (0, Err(kind.into())),
            Verdict::Short => (bytes.len() / 2, Err(ErrorKind::StorageFull.into())),
            Verdict::Last => (bytes.len(), Err(io::Error::other("the power went"))),
        };
        live.extend_from_slice(&bytes[..stored]);
        result
    }

    /// A second name of an inode. [`image`](Self::image) copies it once a name: a power cut may then
    /// tear the two apart, which is more than one does.
    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        if self.find(to).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = self.find_parent(to)?;
        self.change(dir, Change::Link(name.to_owned(), inode))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let ((from_dir, from), (to_dir, to)) = (self.find_parent(from)?, self.find_parent(to)?);
        let (from, to) = (from.to_owned(), to.to_owned());
        if from_dir == to_dir {
            return self.change(to_dir, Change::Rename(from, to, inode));
        }
        self.change(to_dir, Change::Link(to, inode))?;
        self.change(from_dir, Change::Unlink(from))
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        let (dir, name) = self.find_parent(path)?;
        self.link(dir, name, Inode::empty_dir()).map(drop)
    }

    pub(super) fn remove(&mut self, path: &Path, dir: bool) -> io::Result<()> {
        let inode = self.find(path)?;
        if dir != matches!(self.inodes[inode], Inode::Dir { .. }) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let (parent, name) = self.find_parent(path)?;
        self.change(parent, Change::Unlink(name.to_owned()))
    }
}
