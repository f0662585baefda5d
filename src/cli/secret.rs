//! Files that hold secrets.

use std::fs::Metadata;
use std::path::Path;

use super::Failure;

/// The text of a file that nobody else can read.
pub(super) fn read_secret(file: &Path) -> Result<String, Failure> {
    let name = file.display().to_string();
    let unreadable = |error| Failure::Input(name.clone(), error);
    let metadata = std::fs::metadata(file).map_err(unreadable)?;
    if readable_by_others(&metadata) {
        let message = format!("{name} holds secrets and others may read it: chmod o-rwx {name}");
        return Err(Failure::Usage(message));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

fn readable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o007 != 0
}
