//! A power cut: the store lies on an ext4 image on a loop device; the image is copied at a random
//! moment, while a process writes (and freezes heads all the time) or merely reads; the copy is
//! mounted, and must hold everything that was acknowledged as synced.
//!
//! Needs root and loop devices; says so and does nothing where it cannot have them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use icecore::Engine;

use crate::child::{Role, Running, options, rows};

const IMAGE_BYTES: u64 = 48 << 20;

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A mounted image; unmounted when dropped.
struct Mount {
    image: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn new(image: PathBuf, point: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&point).map_err(|error| error.to_string())?;
        let (from, to) = (image.to_str().unwrap(), point.to_str().unwrap());
        run("mount", &["-o", "loop", from, to])?;
        Ok(Self { image, point })
    }

    fn store(&self) -> PathBuf {
        self.point.join("store")
    }
}

impl Drop for Mount {
    /// A process that another test forks at this moment holds the files open for an instant; an
    /// image that stayed mounted would be written to behind the next round's back.
    fn drop(&mut self) {
        let point = self.point.to_str().unwrap();
        let unmounted = (0..500).any(|_| {
            let done = run("umount", &[point]).is_ok();
            if !done {
                std::thread::sleep(Duration::from_millis(10));
            }
            done
        });
        assert!(unmounted || std::thread::panicking(), "cannot unmount {point}");
    }
}

fn formatted(dir: &Path) -> Result<Mount, String> {
    let image = dir.join("disk.img");
    let file = fs::File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])?;
    Mount::new(image, dir.join("mounted"))
}

/// The image as the disk holds it now. The writer is stopped; the kernel may still write back, so
/// the image is copied until two copies agree.
fn cut(mount: &Mount, copy: PathBuf) -> PathBuf {
    for _ in 0..50 {
        fs::copy(&mount.image, &copy).unwrap();
        if fs::read(&mount.image).unwrap() == fs::read(&copy).unwrap() {
            return copy;
        }
    }
    panic!("the image never came to rest");
}

/// Cuts the power under the child, and checks what the disk was left with: the row that was
/// `synced` before, and what the child says was. Returns the last that was when it was killed, a
/// little later.
///
/// What a reader saw is not among it: a writer that was killed may have left a row that it never
/// got to sync, which is there to be read until the power goes.
fn cut_and_check(mount: &Mount, mut child: Running, synced: Option<i64>, what: &str) -> i64 {
    let dir = mount.image.parent().unwrap();
    // Each cut has an image and a mount point of its own.
    let name = what.replace([' ', ','], "-");
    child.signal("-STOP");
    let said = child.acknowledged();
    let acknowledged = synced.unwrap_or(said);
    assert!(said >= acknowledged, "{what}: row {acknowledged} was synced, {said} is the last read");
    let image = cut(mount, dir.join(format!("{name}.img")));
    child.signal("-CONT");
    let last = child.kill();
    let after = Mount::new(image, dir.join(name)).unwrap();
    let report = Engine::verify(after.store(), &mut |_| {}).unwrap();
    assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
    for opening in ["first", "second"] {
        let engine = Engine::open(after.store(), options())
            .unwrap_or_else(|error| panic!("{what}, {opening} opening: {error}"));
        let stored = rows(&engine).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(stored > acknowledged, "{what}: row {acknowledged} was synced, {stored} are there");
    }
    last
}

#[test]
fn a_power_cut_loses_nothing_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mount = match formatted(dir.path()) {
        Ok(mount) => mount,
        Err(why) => {
            println!("SKIPPED: cannot mount an ext4 image on a loop device: {why}");
            return;
        }
    };
    let mut synced = -1;
    for round in 0..5_u64 {
        let mut child = Running::start(&mount.store(), Role::Write);
        child.run_for(Duration::from_millis(120 + 191 * round));
        synced = cut_and_check(&mount, child, None, &format!("writing, round {round}"));
    }
    for round in 0..3_u64 {
        let mut child = Running::start(&mount.store(), Role::Read);
        child.run_for(Duration::from_millis(50 + 83 * round));
        cut_and_check(&mount, child, Some(synced), &format!("reading, round {round}"));
    }
}
