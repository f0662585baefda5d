//! `icecore export --format parquet`: files and directories that other tools read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Failure, new_directory};
use crate::engine::Engine;
use crate::error::Result;
use crate::fs::{Fs, RealFs};
use crate::integration::parquet::{Rows, Table, partitions};
use crate::integration::quantity::parse_tier;
use crate::model::{Selector, Series};
use crate::query::{Limits, SampleRequest};
use crate::time::{Tier, TimeRange};

/// What of the selected series is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    Samples,
    Records(Tier),
}

/// Reads `raw`, `raw-distributions`, `1m`, `1h`.
pub(super) fn contents(text: &str) -> Result<Contents, String> {
    match text {
        "raw" => Ok(Contents::Samples),
        "raw-distributions" => Ok(Contents::Records(Tier::RAW)),
        tier => parse_tier(tier).map(Contents::Records).ok_or_else(|| {
            format!("{text:?} is no tier such as raw, raw-distributions, 1m, 5m, 1h, 1d")
        }),
    }
}

impl Contents {
    fn rows(self) -> Rows {
        match self {
            Self::Samples => Rows::Samples,
            Self::Records(_) => Rows::Records,
        }
    }

    fn tier(self) -> Tier {
        match self {
            Self::Samples => Tier::RAW,
            Self::Records(tier) => tier,
        }
    }
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub(super) rows: u64,
    pub(super) series: HashSet<Arc<Series>>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// An export under way.
pub(super) struct Export<'a> {
    pub(super) engine: &'a Engine,
    pub(super) selector: &'a Selector,
    pub(super) range: TimeRange,
}

impl Export<'_> {
    /// Into `output`: one file where it ends in `.parquet`, else a new directory of partitions.
    pub(super) fn write(
        &self,
        all: &[Contents],
        output: &Path,
    ) -> std::result::Result<Exported, Failure> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mut exported = Exported::default();
        if output.extension().is_some_and(|extension| extension == "parquet") {
            let [contents] = all else {
                let message = "one file holds one tier; name it with --tier, or a directory";
                return Err(Failure::Usage(message.to_owned()));
            };
            self.table(&fs, *contents, output, self.range, &mut exported)?;
            return Ok(exported);
        }
        new_directory(output)?;
        for contents in all {
            for (partition, range) in partitions(contents.tier(), contents.rows(), self.range) {
                let directory = output.join(partition);
                self.table(&fs, *contents, &directory.join("data.parquet"), range, &mut exported)?;
            }
        }
        Ok(exported)
    }

    /// One file, if there is anything to put into it.
    fn table(
        &self,
        fs: &Arc<dyn Fs>,
        contents: Contents,
        path: &Path,
        range: TimeRange,
        exported: &mut Exported,
    ) -> Result<()> {
        let mut lazily = Lazily { fs, path: path.to_owned(), rows: contents.rows(), table: None };
        let series_seen = &mut exported.series;
        let mut note = |series: &Arc<Series>| {
            if !series_seen.contains(series) {
                series_seen.insert(Arc::clone(series));
            }
        };
        match contents {
            Contents::Samples => {
                let limits =
                    Limits { series_max: u64::MAX, samples_max: u64::MAX, ..Limits::default() };
                let request = SampleRequest { limits, ..SampleRequest::new(range) };
                self.engine.for_each_run(self.selector, &request, |series, times, values| {
                    note(series);
                    lazily.get()?.push_samples(series, times, values)
                })?;
            }
            Contents::Records(tier) => {
                let push = |series: &Arc<Series>, records: &_, fields| {
                    note(series);
                    lazily.get()?.push_records(series, records, fields)
                };
                self.engine.for_each_record_run(self.selector, tier, range, push)?;
            }
        }
        if let Some(table) = lazily.table {
            let written = table.finish()?;
            exported.rows += written.rows;
            exported.bytes += written.bytes;
            exported.files += 1;
        }
        Ok(())
    }
}

/// A table that is there from its first row on.
struct Lazily<'a> {
    fs: &'a Arc<dyn Fs>,
    path: PathBuf,
    rows: Rows,
    table: Option<Table>,
}

impl Lazily<'_> {
    fn get(&mut self) -> Result<&mut Table> {
        match &mut self.table {
            Some(table) => Ok(table),
            empty => {
                let directory = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
                if let Some(directory) = directory {
                    self.fs.create_dir_all(directory)?;
                }
                Ok(empty.insert(Table::create(self.fs, &self.path, self.rows)?))
            }
        }
    }
}
