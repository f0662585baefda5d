//! Stores on a file system that takes no writes.

use std::path::Path;
use std::process::Command;

use icecore::store::{self, StoreKind};

use super::{build, kinds, mixed_pairs, open, real_fs, scan};

/// A directory mounted onto itself, read-only, until dropped.
struct ReadOnlyMount<'a>(&'a Path);

impl<'a> ReadOnlyMount<'a> {
    fn new(dir: &'a Path) -> Option<Self> {
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).arg(dir).output();
            done.is_ok_and(|output| output.status.success())
        };
        if !run("mount", &["--bind", dir.to_str()?]) {
            return None;
        }
        let mount = Self(dir);
        run("mount", &["-o", "remount,ro,bind"]).then_some(mount)
    }
}

impl Drop for ReadOnlyMount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn a_read_only_file_system_is_read() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = mixed_pairs();
        build(kind, dir.path(), &pairs);
        let Some(_mount) = ReadOnlyMount::new(dir.path()) else {
            eprintln!("SKIPPED: read-only mounts need a privileged user");
            return;
        };
        assert!(std::fs::write(dir.path().join("probe"), b"x").is_err(), "the mount takes writes");
        let stores = [open(kind, dir.path()), open(kind, dir.path())];
        for store in &stores {
            assert_eq!(scan(store.as_ref()), pairs, "{kind}");
        }
        let refused = store::build(StoreKind::Flat, &real_fs(), &dir.path().join("new"));
        assert!(refused.is_err());
    }
}
