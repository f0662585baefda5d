//! A file of ours as the Parquet writer wants it, and errors on their way back.

use std::io::{self, Write};
use std::path::Path;

use parquet::errors::ParquetError;

use crate::error::Error;
use crate::fs::FsFile;

/// Appends to a file of the seam. The Parquet writer buffers in front of it.
#[derive(Debug)]
pub(super) struct Sink(pub(super) Box<dyn FsFile>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The engine's own error where one caused it, else an [`Error::Io`] that tells Parquet's words.
pub(super) fn told(operation: &'static str, path: &Path) -> impl Fn(ParquetError) -> Error + use<> {
    let path = path.to_owned();
    move |error| match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => own(operation, &path, *cause),
            Err(cause) => Error::io(operation, &path, io::Error::other(cause)),
        },
        other => Error::io(operation, &path, io::Error::other(other)),
    }
}

fn own(operation: &'static str, path: &Path, cause: io::Error) -> Error {
    match cause.downcast::<Error>() {
        Ok(own) => own,
        Err(cause) => Error::io(operation, path, cause),
    }
}
