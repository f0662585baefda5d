//! [`Fs`] over the operating system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{DirEntry, Fs, FsFile, FsLock, LockMode};
use crate::error::{Error, Result};

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

/// The open file carries the lock.
#[derive(Debug)]
struct RealLock(File);

impl FsLock for RealLock {}

impl Drop for RealLock {
    /// Closing the file would not do: a child of the host that was forked and has not yet executed
    /// its program holds the same open file, and with it the lock.
    fn drop(&mut self) {
        // There is no one to tell, and nothing to do about it.
        let _ = self.0.unlock();
    }
}

fn open(operation: &'static str, options: &OpenOptions, path: &Path) -> Result<Box<dyn FsFile>> {
    let file = options.open(path).map_err(|source| Error::io(operation, path, source))?;
    Ok(Box::new(RealFile { file, path: path.to_owned() }))
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(path)?
        .map(|entry| {
            let entry = entry?;
            Ok(DirEntry { name: entry.file_name(), is_dir: entry.file_type()?.is_dir() })
        })
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

impl Fs for RealFs {
    fn create_new(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        open("create", OpenOptions::new().read(true).append(true).create_new(true), path)
    }

    fn open_append(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        open("open", OpenOptions::new().read(true).append(true), path)
    }

    fn open_read(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        open("open", OpenOptions::new().read(true), path)
    }

    fn file_bytes(&self, path: &Path) -> Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("stat", path, error)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|source| Error::io("rename", from, source))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        fs::hard_link(from, to).map_err(|source| Error::io("link", from, source))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|source| Error::io("remove", path, source))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        fs::remove_dir_all(path).map_err(|source| Error::io("remove", path, source))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        list(path).map_err(|source| Error::io("list", path, source))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        File::open(path)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| Error::io("sync", path, source))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn FsLock>> {
        let mut options = OpenOptions::new();
        options.read(true);
        if mode == LockMode::Exclusive {
            options.write(true).create(true).truncate(false);
        }
        let file = options.open(path).map_err(|source| Error::io("lock", path, source))?;
        let locked = match mode {
            LockMode::Exclusive => file.try_lock(),
            LockMode::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => Ok(Box::new(RealLock(file))),
            Err(TryLockError::WouldBlock) => {
                Err(Error::Locked { path: path.parent().unwrap_or(path).to_owned() })
            }
            Err(TryLockError::Error(source)) => Err(Error::io("lock", path, source)),
        }
    }

    fn free_bytes(&self, path: &Path) -> Result<u64> {
        let stat = rustix::fs::statvfs(path)
            .map_err(|errno| Error::io("measure free space at", path, errno.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl RealFile {
    fn fail(&self, operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::io(operation, &self.path, source)
    }
}

impl FsFile for RealFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        (&self.file).write_all(bytes).map_err(self.fail("write"))
    }

    /// `fdatasync`: it writes the length too where that is needed to find the bytes again.
    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(self.fail("sync"))
    }

    fn len(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(self.fail("stat"))
    }

    fn set_len(&mut self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes).map_err(self.fail("cut"))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail("read")(error)),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{read_file, sync_tree, tree_bytes};

    #[test]
    fn appends_reads_back_and_cuts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = RealFs.create_new(&path).unwrap();
        file.write_all(b"hello ").unwrap();
        file.write_all(b"world").unwrap();
        file.sync().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(file.read_at(6, &mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"world");
        file.set_len(5).unwrap();
        file.write_all(b"!").unwrap();
        assert_eq!(read_file(&RealFs, &path, 6).unwrap(), b"hello!");
        assert!(read_file(&RealFs, &path, 5).is_err());
        assert!(RealFs.create_new(&path).is_err());
        assert_eq!(RealFs.file_bytes(&dir.path().join("missing")).unwrap(), None);
        let second = dir.path().join("b");
        RealFs.hard_link(&path, &second).unwrap();
        assert!(RealFs.hard_link(&path, &second).is_err());
        file.write_all(b"!").unwrap();
        assert_eq!(read_file(&RealFs, &second, 7).unwrap(), b"hello!!");
        RealFs.remove_file(&second).unwrap();
        file.set_len(6).unwrap();
        sync_tree(&RealFs, dir.path()).unwrap();
        assert_eq!(tree_bytes(&RealFs, dir.path()).unwrap(), 6);
        assert!(RealFs.free_bytes(dir.path()).unwrap() > 0);
    }

    #[test]
    fn an_exclusive_lock_keeps_others_out_and_shared_ones_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        assert!(matches!(RealFs.lock(&path, LockMode::Shared), Err(Error::Io { .. })));
        let held = RealFs.lock(&path, LockMode::Exclusive).unwrap();
        for mode in [LockMode::Exclusive, LockMode::Shared] {
            let refused = RealFs.lock(&path, mode);
            assert!(matches!(refused, Err(Error::Locked { path }) if path == dir.path()));
        }
        drop(held);
        let _one = RealFs.lock(&path, LockMode::Shared).unwrap();
        let _two = RealFs.lock(&path, LockMode::Shared).unwrap();
        assert!(matches!(RealFs.lock(&path, LockMode::Exclusive), Err(Error::Locked { .. })));
    }
}
