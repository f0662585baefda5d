//! Answers as Arrow record batches: for whoever reads them by Arrow (DataFusion, pandas, Polars).
//!
//! Owns: names, types and metadata of the columns. Values are moved: no column of them is copied
//! or converted, a batch takes over the memory of the answer. Does not own: Parquet files, which
//! are written without Arrow (`parquet`).
//!
//! Times are `Timestamp(Nanosecond, "UTC")`, values `Float64`, counts `UInt64`. What a column is of
//! stands in its field's metadata: each label by its name, the metric as `__name__`, and the
//! function, where one was asked, as `function`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use crate::error::{Error, Result};
use crate::model::{METRIC_NAME_LABEL, Series};
use crate::query::{Answer, GroupKey, RowGroup, SeriesSamples};

/// The column that tells the time of a row.
pub const TIME: &str = "time";
/// The metadata key of a column's function; `count` for samples in a window.
pub const FUNCTION: &str = "function";

/// Windows as rows, ascending, none left out: `time`, when a window starts; then of each group,
/// ascending by key, `count KEY`, its samples in the window, and a column for each function,
/// `FUNCTION KEY`, as [`Group::values`](crate::query::Group::values) has them: NaN where a window
/// is empty. `KEY` is the series, or the labels grouped by as `{name="value"}`.
///
/// Cost: the starts of the windows are computed; all else is moved.
///
/// # Errors
/// [`Error::InvalidArgument`] where a column does not have a value for each window, which no query
/// answers.
pub fn answer_batch(answer: Answer) -> Result<RecordBatch> {
    let mut columns = Columns::new(answer.windows.iter().map(|window| window.start.0).collect());
    for group in answer.groups {
        let (key, labels) = match &group.key {
            GroupKey::Series(series) => (series.to_string(), metadata(series)),
            GroupKey::Labels(labels) => {
                let pairs: Vec<_> = labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
                (format!("{{{}}}", pairs.join(",")), labels.iter().cloned().collect())
            }
        };
        let of = |function: &str| {
            let mut metadata: HashMap<String, String> = labels.clone();
            metadata.insert(FUNCTION.to_owned(), function.to_owned());
            (format!("{function} {key}"), metadata)
        };
        let counts = UInt64Array::new(ScalarBuffer::from(group.counts), None);
        columns.add(of("count"), DataType::UInt64, Arc::new(counts));
        for (function, values) in answer.functions.iter().zip(group.values) {
            columns.add_values(of(&function.to_string()), values);
        }
    }
    columns.finish()
}

/// The samples of one series as rows, ascending: `time`, and `value`, whose metadata is the
/// series'. Stale markers are NaNs of their own bits.
///
/// # Errors
/// [`Error::InvalidArgument`] where times and values are not as many.
pub fn samples_batch(samples: SeriesSamples) -> Result<RecordBatch> {
    let mut columns = Columns::new(samples.timestamps);
    columns.add_values(("value".to_owned(), metadata(&samples.series)), samples.values);
    columns.finish()
}

/// The rows of one owner, ascending: `time`, and a column for each of its series, named after it:
/// NaN where the series has no sample at the time.
///
/// # Errors
/// [`Error::InvalidArgument`] where a column is not as long as the times.
pub fn rows_batch(rows: RowGroup) -> Result<RecordBatch> {
    let mut columns = Columns::new(rows.timestamps);
    for (series, values) in rows.series.iter().zip(rows.values) {
        columns.add_values((series.to_string(), metadata(series)), values);
    }
    columns.finish()
}

fn metadata(series: &Series) -> HashMap<String, String> {
    let name = (METRIC_NAME_LABEL.to_owned(), series.name().to_owned());
    let labels = series.labels().map(|(name, value)| (name.to_owned(), value.to_owned()));
    std::iter::once(name).chain(labels).collect()
}

/// Columns of one batch.
struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn new(times: Vec<i64>) -> Self {
        let times = TimestampNanosecondArray::new(ScalarBuffer::from(times), None);
        let kind = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let fields = vec![Field::new(TIME, kind, false)];
        Self { fields, arrays: vec![Arc::new(times.with_timezone("UTC"))] }
    }

    fn add_values(&mut self, what: (String, HashMap<String, String>), values: Vec<f64>) {
        let array = Float64Array::new(ScalarBuffer::from(values), None);
        self.add(what, DataType::Float64, Arc::new(array));
    }

    fn add(
        &mut self,
        (name, metadata): (String, HashMap<String, String>),
        kind: DataType,
        array: ArrayRef,
    ) {
        self.fields.push(Field::new(name, kind, false).with_metadata(metadata));
        self.arrays.push(array);
    }

    fn finish(self) -> Result<RecordBatch> {
        let schema = Arc::new(Schema::new(self.fields));
        RecordBatch::try_new(schema, self.arrays)
            .map_err(|error| Error::InvalidArgument { what: "columns", reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, TimestampNanosecondType, UInt64Type};

    use super::*;
    use crate::query::{Covered, Evidence, Function, Group, Windows};
    use crate::time::{TimeRange, Timestamp};

    fn series() -> Arc<Series> {
        Arc::new(Series::new("load", [("host", "a \"b\"")]).unwrap())
    }

    #[test]
    fn an_answer_is_moved_not_copied() {
        let range = TimeRange::new(Timestamp(0), Timestamp(25));
        let windows = Windows::new(range, Some(Duration::from_nanos(10))).unwrap();
        let values = vec![vec![1.0, f64::NAN, 3.0], vec![1.5, f64::NAN, 3.5]];
        let (counts, addresses) = (vec![1, 0, 2], [values[0].as_ptr(), values[1].as_ptr()]);
        let keys = [
            GroupKey::Series(series()),
            GroupKey::Labels(vec![("host".to_owned(), "a".to_owned())]),
        ];
        let group = |key: &GroupKey| Group {
            key: key.clone(),
            covered: Covered::default(),
            counts: counts.clone(),
            values: values.clone(),
        };
        let mut groups: Vec<Group> = keys.iter().map(group).collect();
        groups[0].values = values;
        let functions = vec![Function::Avg, Function::Quantile(0.99)];
        let answer = Answer { windows, functions, groups, evidence: Evidence::default() };
        let batch = answer_batch(answer).unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
        let series = r#"load{host="a \"b\""}"#;
        let (one, other) = (["count", "avg", "p99"], r#"{host="a"}"#);
        let expected = one.iter().map(|f| format!("{f} {series}"));
        let expected = expected.chain(one.iter().map(|f| format!("{f} {other}")));
        assert!(names.iter().cloned().eq(std::iter::once("time".to_owned()).chain(expected)));
        let times = batch.column(0).as_primitive::<TimestampNanosecondType>();
        assert_eq!(times.values(), &[0, 10, 20]);
        assert_eq!(batch.column(1).as_primitive::<UInt64Type>().values(), &[1, 0, 2]);
        for (column, address) in [2, 3].into_iter().zip(addresses) {
            let column = batch.column(column).as_primitive::<Float64Type>();
            assert_eq!(column.values().as_ptr(), address, "the same memory");
            assert!(column.null_count() == 0 && column.value(1).is_nan());
        }
        let field = batch.schema().field(3).clone();
        assert_eq!(field.metadata()["function"], "p99");
        assert_eq!(field.metadata()["__name__"], "load");
        assert_eq!(field.metadata()["host"], "a \"b\"");
        assert_eq!(batch.schema().field(5).metadata()["host"], "a");
    }

    #[test]
    fn samples_and_rows_keep_their_memory_too() {
        let (timestamps, values) = (vec![1, 5], vec![0.5, -0.0]);
        let addresses = (timestamps.as_ptr(), values.as_ptr());
        let samples = SeriesSamples { series: series(), timestamps, values };
        let batch = samples_batch(samples).unwrap();
        let times = batch.column(0).as_primitive::<TimestampNanosecondType>();
        let values = batch.column(1).as_primitive::<Float64Type>();
        assert_eq!((times.values().as_ptr(), values.values().as_ptr()), addresses);
        let rows = RowGroup {
            key: GroupKey::Labels(Vec::new()),
            series: vec![series(), series()],
            timestamps: vec![7],
            values: vec![vec![1.0], vec![f64::NAN]],
        };
        let batch = rows_batch(rows.clone()).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 3));
        let uneven = RowGroup { values: vec![vec![1.0], vec![]], ..rows };
        assert!(matches!(rows_batch(uneven), Err(Error::InvalidArgument { .. })));
    }
}
