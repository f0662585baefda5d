//! The columns of a table: their schema, what a row group holds of them until it is written, and
//! how they reach the file.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

use super::digest::{ColumnDigest, Feed};
use crate::aggregate::{Bin, SketchRef};
use crate::model::Series;
use crate::segment::{RecordFields, Records};

/// Rows whose texts are laid out at a time.
const TEXT_ROWS: usize = 8192;

/// What a table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Samples: a timestamp and a value.
    Samples,
    /// Records of a tier, or distributions: a bucket's start and its aggregate.
    Records,
}

const IDENTITY: &str = "
    required binary series (STRING);
    required binary metric (STRING);
    required group labels (MAP) {
        repeated group key_value {
            required binary key (STRING);
            required binary value (STRING);
        }
    }";

const SAMPLES: &str = "
    required int64 timestamp (TIMESTAMP(NANOS,true));
    required double value;";

const RECORDS: &str = "
    required int64 start (TIMESTAMP(NANOS,true));
    required int64 count (INTEGER(64,false));
    required double sum;
    required double min;
    required double max;
    required int64 first_time (TIMESTAMP(NANOS,true));
    required double first;
    required int64 last_time (TIMESTAMP(NANOS,true));
    required double last;
    optional double increase;
    optional int64 resets (INTEGER(64,false));
    optional int64 sketch_zero (INTEGER(64,false));
    required group sketch_positive_bins (LIST) { repeated group list { required int32 element; } }
    required group sketch_positive_counts (LIST) {
        repeated group list { required int64 element (INTEGER(64,false)); } }
    required group sketch_negative_bins (LIST) { repeated group list { required int32 element; } }
    required group sketch_negative_counts (LIST) {
        repeated group list { required int64 element (INTEGER(64,false)); } }";

impl Rows {
    /// The schema, as the format writes it.
    pub(super) fn schema(self) -> Result<TypePtr> {
        let (name, columns) = match self {
            Self::Samples => ("samples", SAMPLES),
            Self::Records => ("records", RECORDS),
        };
        parse_message_type(&format!("message {name} {{ {IDENTITY} {columns} }}")).map(Arc::new)
    }

    /// How the columns are written.
    pub(super) fn properties(self) -> Result<WriterProperties> {
        let column =
            |name: &str| ColumnPath::from(name.split('.').map(str::to_owned).collect::<Vec<_>>());
        // Rows are ordered by series, and series by their metric first.
        let metric_first =
            SortingColumn { column_idx: METRIC_LEAF, descending: false, nulls_first: false };
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("icecore version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_sorting_columns(Some(vec![metric_first]));
        if self == Self::Records {
            let meaning = "DDSketch; bin i stands for 2*g^i/(1+g), g = 101/99".to_owned();
            let meaning = KeyValue::new("icecore.sketch".to_owned(), meaning);
            properties = properties.set_key_value_metadata(Some(vec![meaning]));
        }
        let times: &[&str] = match self {
            Self::Samples => &["timestamp"],
            Self::Records => &["start", "first_time", "last_time"],
        };
        for name in times {
            // Steps are alike where timestamps are all different.
            properties = properties
                .set_column_dictionary_enabled(column(name), false)
                .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED)
                // What a query cuts by: within a row group too.
                .set_column_statistics_enabled(column(name), EnabledStatistics::Page);
        }
        Ok(properties.build())
    }
}

/// Where `metric` stands among the leaves.
const METRIC_LEAF: i32 = 1;

/// The rows of a row group until it is written.
#[derive(Debug)]
pub(super) enum Buffer {
    Samples { timestamps: Vec<i64>, values: Vec<f64> },
    Records(Box<RecordColumns>),
}

/// The fields of records, column by column.
#[derive(Debug, Default)]
pub(super) struct RecordColumns {
    times: [Vec<i64>; 3],
    doubles: [Vec<f64>; 5],
    count: Vec<i64>,
    increase: Vec<f64>,
    resets: Vec<i64>,
    /// 1 where increase and resets are there.
    has_increase: Vec<i16>,
    sketch_zero: Vec<i64>,
    /// 1 where there is a sketch.
    has_sketch: Vec<i16>,
    positive: BinColumns,
    negative: BinColumns,
}

/// A list of bins a row.
#[derive(Debug, Default)]
struct BinColumns {
    bins: Vec<i32>,
    counts: Vec<i64>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl BinColumns {
    fn push(&mut self, bins: &[Bin]) {
        if bins.is_empty() {
            self.definitions.push(0);
            self.repetitions.push(0);
        }
        for (i, bin) in bins.iter().enumerate() {
            self.bins.push(bin.index);
            self.counts.push(bin.count.cast_signed());
            self.definitions.push(1);
            self.repetitions.push(i16::from(i > 0));
        }
    }

    fn clear(&mut self) {
        self.bins.clear();
        self.counts.clear();
        self.definitions.clear();
        self.repetitions.clear();
    }
}

impl Buffer {
    pub(super) fn new(rows: Rows) -> Self {
        match rows {
            Rows::Samples => Self::Samples { timestamps: Vec::new(), values: Vec::new() },
            Rows::Records => Self::Records(Box::default()),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Samples { timestamps, values } => {
                timestamps.clear();
                values.clear();
            }
            Self::Records(columns) => columns.clear(),
        }
    }

    /// Bytes of the rows it holds, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Samples { timestamps, .. } => timestamps.len() * 16,
            Self::Records(columns) => {
                let bins = columns.positive.definitions.len() + columns.negative.definitions.len();
                columns.count.len() * 96 + bins * 16
            }
        }
    }

    /// Writes all columns but those of the identity, in the schema's order.
    pub(super) fn write(&self, out: &mut Output<'_, '_>) -> Result<()> {
        match self {
            Self::Samples { timestamps, values } => {
                out.column::<Int64Type>(timestamps, None, None)?;
                out.column::<DoubleType>(values, None, None)
            }
            Self::Records(columns) => columns.write(out),
        }
    }
}

impl RecordColumns {
    pub(super) fn push(&mut self, records: &Records, fields: RecordFields) {
        let mut sketches = records.sketches.iter();
        for (&start, partial) in records.starts.iter().zip(&records.partials) {
            let (first, last) = (partial.first, partial.last);
            let times = [start, first.timestamp.nanos(), last.timestamp.nanos()];
            let doubles = [partial.sum, partial.min, partial.max, first.value, last.value];
            self.times.iter_mut().zip(times).for_each(|(column, time)| column.push(time));
            self.doubles.iter_mut().zip(doubles).for_each(|(column, value)| column.push(value));
            self.count.push(partial.count.cast_signed());
            self.has_increase.push(i16::from(fields.increase));
            if fields.increase {
                self.increase.push(partial.increase);
                self.resets.push(partial.resets.cast_signed());
            }
            let sketch = sketches.next();
            self.has_sketch.push(i16::from(sketch.is_some()));
            self.sketch_zero.extend(sketch.map(|sketch| sketch.zero().cast_signed()));
            self.positive.push(sketch.map(SketchRef::positive).unwrap_or_default());
            self.negative.push(sketch.map(SketchRef::negative).unwrap_or_default());
        }
    }

    fn clear(&mut self) {
        self.times.iter_mut().for_each(Vec::clear);
        self.doubles.iter_mut().for_each(Vec::clear);
        self.count.clear();
        self.increase.clear();
        self.resets.clear();
        self.has_increase.clear();
        self.sketch_zero.clear();
        self.has_sketch.clear();
        self.positive.clear();
        self.negative.clear();
    }

    fn write(&self, out: &mut Output<'_, '_>) -> Result<()> {
        let [starts, first_times, last_times] = &self.times;
        let [sums, mins, maxs, firsts, lasts] = &self.doubles;
        out.column::<Int64Type>(starts, None, None)?;
        out.column::<Int64Type>(&self.count, None, None)?;
        for values in [sums, mins, maxs] {
            out.column::<DoubleType>(values, None, None)?;
        }
        for (times, values) in [(first_times, firsts), (last_times, lasts)] {
            out.column::<Int64Type>(times, None, None)?;
            out.column::<DoubleType>(values, None, None)?;
        }
        out.column::<DoubleType>(&self.increase, Some(&self.has_increase), None)?;
        out.column::<Int64Type>(&self.resets, Some(&self.has_increase), None)?;
        out.column::<Int64Type>(&self.sketch_zero, Some(&self.has_sketch), None)?;
        for BinColumns { bins, counts, definitions, repetitions } in
            [&self.positive, &self.negative]
        {
            let levels = (Some(&definitions[..]), Some(&repetitions[..]));
            out.column::<Int32Type>(bins, levels.0, levels.1)?;
            out.column::<Int64Type>(counts, levels.0, levels.1)?;
        }
        Ok(())
    }
}

/// The row group being written, one leaf after another, and the digests of what goes into it.
pub(super) struct Output<'a, 'b> {
    pub(super) row_group: SerializedRowGroupWriter<'a, super::sink::Sink>,
    pub(super) digests: std::slice::IterMut<'b, ColumnDigest>,
}

impl Output<'_, '_> {
    /// Writes the next leaf from one batch after another, until `next` has no more: it fills
    /// values, definition and repetition levels.
    fn batches<T: DataType>(
        &mut self,
        leveled: bool,
        mut next: impl FnMut(&mut Vec<T::T>, &mut Vec<i16>, &mut Vec<i16>) -> bool,
    ) -> Result<()>
    where
        T::T: Feed,
    {
        let (Some(mut column), Some(digest)) = (self.row_group.next_column()?, self.digests.next())
        else {
            return Err(parquet::errors::ParquetError::General("more columns than leaves".into()));
        };
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        while next(&mut values, &mut definitions, &mut repetitions) {
            digest.feed(&values, &definitions, &repetitions);
            let levels = leveled.then_some((&definitions[..], &repetitions[..]));
            column.typed::<T>().write_batch(
                &values,
                levels.map(|(definitions, _)| definitions),
                levels.map(|(_, repetitions)| repetitions),
            )?;
            values.clear();
            definitions.clear();
            repetitions.clear();
        }
        column.close()
    }

    /// Writes the next leaf from whole slices.
    pub(super) fn column<T: DataType>(
        &mut self,
        values: &[T::T],
        definitions: Option<&[i16]>,
        repetitions: Option<&[i16]>,
    ) -> Result<()>
    where
        T::T: Feed,
    {
        let (Some(mut column), Some(digest)) = (self.row_group.next_column()?, self.digests.next())
        else {
            return Err(parquet::errors::ParquetError::General("more columns than leaves".into()));
        };
        digest.feed(values, definitions.unwrap_or_default(), repetitions.unwrap_or_default());
        column.typed::<T>().write_batch(values, definitions, repetitions)?;
        column.close()
    }

    /// Writes the identity's leaves: `runs` tells how many rows in a row each series has.
    pub(super) fn identity(&mut self, runs: &[(Arc<Series>, usize)]) -> Result<()> {
        self.text(runs, |series| series.to_string())?;
        self.text(runs, |series| series.name().to_owned())?;
        self.labels(runs, |(name, _)| name)?;
        self.labels(runs, |(_, value)| value)
    }

    fn text(
        &mut self,
        runs: &[(Arc<Series>, usize)],
        text: impl Fn(&Series) -> String,
    ) -> Result<()> {
        let mut pieces = pieces(runs);
        let mut known: Option<(&Arc<Series>, ByteArray)> = None;
        self.batches::<ByteArrayType>(false, |values, _, _| {
            let Some((series, rows)) = pieces.next() else { return false };
            let value = match &known {
                Some((same, value)) if Arc::ptr_eq(same, series) => value.clone(),
                _ => known.insert((series, text(series).into_bytes().into())).1.clone(),
            };
            values.resize(rows, value);
            true
        })
    }

    fn labels(
        &mut self,
        runs: &[(Arc<Series>, usize)],
        text: impl for<'s> Fn((&'s str, &'s str)) -> &'s str,
    ) -> Result<()> {
        let mut pieces = pieces(runs);
        self.batches::<ByteArrayType>(true, |values, definitions, repetitions| {
            let Some((series, rows)) = pieces.next() else { return false };
            let row: Vec<ByteArray> =
                series.labels().map(|label| text(label).as_bytes().to_vec().into()).collect();
            for _ in 0..rows {
                if row.is_empty() {
                    definitions.push(0);
                    repetitions.push(0);
                }
                values.extend_from_slice(&row);
                definitions.extend(row.iter().map(|_| 1));
                repetitions.extend((0..row.len()).map(|i| i16::from(i > 0)));
            }
            true
        })
    }
}

/// The runs in pieces of a bounded number of rows.
fn pieces(runs: &[(Arc<Series>, usize)]) -> impl Iterator<Item = (&Arc<Series>, usize)> {
    runs.iter().flat_map(|(series, rows)| {
        let whole = std::iter::repeat_n(TEXT_ROWS, rows / TEXT_ROWS);
        let rest = Some(rows % TEXT_ROWS).filter(|&rest| rest > 0);
        whole.chain(rest).map(move |rows| (series, rows))
    })
}
