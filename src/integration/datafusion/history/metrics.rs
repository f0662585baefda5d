//! The series of a metric as a table of DataFusion.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, RecordBatch, RecordBatchOptions, StringArray,
    UInt32Array,
};
use datafusion::arrow::buffer::ScalarBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::columns::{text_field, time_field, times};
use super::conditions::{Condition, both, pushdown, understand};
use super::past::{Beforehand, Past};
use super::scan::{BATCH_ROWS, HistoryExec, Reader, Reading, cut};
use super::{HistoryOptions, external};
use crate::error::Error;
use crate::integration::arrow::TIME;
use crate::model::{EventKind, EventValue, METRIC_NAME_LABEL, MatchOp, Matcher, Selector, Series};
use crate::query::{EventTest, Limits, SampleRequest};
use crate::time::{TimeRange, Timestamp, duration_nanos};

/// The column of values.
const VALUE: &str = "value";
/// Time that is worth a partition of its own.
const PARTITION_TIME: std::time::Duration = std::time::Duration::from_secs(6 * 3600);

/// See the module.
#[derive(Debug)]
pub(super) struct MetricTable {
    past: Arc<Past>,
    metric: String,
    /// Labels, and after time and value the columns.
    labels: Vec<String>,
    schema: SchemaRef,
    limits: Limits,
}

impl MetricTable {
    /// `labels` are those of the metric's series.
    pub(super) fn new(
        past: Arc<Past>,
        metric: &str,
        labels: Vec<String>,
        options: &HistoryOptions,
    ) -> Self {
        let mut fields = vec![time_field(), Field::new(VALUE, DataType::Float64, false)];
        fields.extend(labels.iter().map(|label| text_field(&column_name(label))));
        let (schema, metric) = (Arc::new(Schema::new(fields)), metric.to_owned());
        Self { past, metric, labels, schema, limits: options.limits }
    }

    /// What a filter is to the engine: a stretch of time, and matchers.
    fn understand(&self, filter: &Expr) -> Option<(TimeRange, Vec<Matcher>)> {
        let label = |column: &str| self.labels.iter().find(|label| column_name(label) == column);
        let kind = |column: &str| label(column).map(|_| EventKind::Text);
        let (mut range, mut all) = (TimeRange::ALL, Vec::new());
        for condition in understand(filter, &kind)? {
            match condition {
                Condition::Within(within) => range = both(range, within),
                Condition::Column(column, test) => all.extend(matchers(label(&column)?, &test)?),
            }
        }
        Some((range, all))
    }
}

/// How a label's column is called.
fn column_name(label: &str) -> String {
    if [TIME, VALUE].contains(&label) { format!("label_{label}") } else { label.to_owned() }
}

/// A test of a label, whose absence is null to SQL and an empty value to a matcher.
fn matchers(label: &str, test: &EventTest) -> Option<Vec<Matcher>> {
    let of = |op, value: &str| Matcher::new(label, op, value).ok();
    let text = |value: &EventValue| match value {
        EventValue::Text(text) if !text.is_empty() => Some(Arc::clone(text)),
        _ => None,
    };
    Some(match test {
        EventTest::Equal(value) => vec![of(MatchOp::Equal, &text(value)?)?],
        EventTest::NotEqual(value) => {
            vec![of(MatchOp::NotEqual, &text(value)?)?, of(MatchOp::NotEqual, "")?]
        }
        EventTest::In(values) => {
            let texts = values.iter().map(|value| Some(regex::escape(&text(value)?)));
            vec![of(MatchOp::Matches, &texts.collect::<Option<Vec<_>>>()?.join("|"))?]
        }
        EventTest::IsNull => vec![of(MatchOp::Equal, "")?],
        EventTest::NotNull => vec![of(MatchOp::NotEqual, "")?],
        _ => return None,
    })
}

#[async_trait]
impl TableProvider for MetricTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let name =
            Matcher::new(METRIC_NAME_LABEL, MatchOp::Equal, &self.metric).map_err(external)?;
        let (mut range, mut selected) = (TimeRange::ALL, vec![name]);
        for (within, matchers) in filters.iter().filter_map(|filter| self.understand(filter)) {
            range = both(range, within);
            selected.extend(matchers);
        }
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all).clone();
        let schema = Arc::new(self.schema.project(&columns)?);
        let known = self.past.blocking(move |past| past.sample_bounds(range)).await;
        let Beforehand { held: bounds, archived_files } = known?;
        let partitions = state.config_options().execution.target_partitions;
        let parts = parts(range, bounds, partitions);
        let reader = MetricReader {
            past: Arc::clone(&self.past),
            metric: self.metric.clone(),
            archived_files,
            selector: Selector::new(selected).map_err(external)?,
            labels: self.labels.clone(),
            columns,
            schema: Arc::clone(&schema),
            range,
            limits: self.limits,
        };
        let unknown = Statistics::new_unknown(&schema);
        let scan = HistoryExec::new(Arc::new(reader), schema, parts, unknown, false);
        Ok(Arc::new(scan.limited(limit)))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(pushdown(filters, |filter| self.understand(filter).is_some()))
    }
}

fn parts(
    range: TimeRange,
    bounds: Option<(Timestamp, Timestamp)>,
    partitions: usize,
) -> Vec<TimeRange> {
    let Some((first, last)) = bounds else { return vec![range] };
    let held = both(range, TimeRange::new(first, Timestamp(last.0.saturating_add(1))));
    if held.is_empty() {
        return vec![range];
    }
    let length = held.start.0.abs_diff(held.end.0);
    let worth = length.div_ceil(duration_nanos(PARTITION_TIME).unsigned_abs());
    let mut parts = cut(held, worth.min(partitions as u64));
    if let Some(first) = parts.first_mut() {
        first.start = range.start;
    }
    if let Some(last) = parts.last_mut() {
        last.end = range.end;
    }
    parts
}

/// Reads the samples of a metric by series, those of one by time.
#[derive(Debug)]
struct MetricReader {
    past: Arc<Past>,
    metric: String,
    /// Files of the archive that the range is in, of whichever metrics.
    archived_files: Option<usize>,
    selector: Selector,
    labels: Vec<String>,
    /// Which of time, value and labels are wanted.
    columns: Vec<usize>,
    schema: SchemaRef,
    range: TimeRange,
    limits: Limits,
}

impl fmt::Display for MetricReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "series={}", self.selector)?;
        if self.range != TimeRange::ALL {
            write!(f, ", time=[{}, {})", self.range.start, self.range.end)?;
        }
        write!(f, ", columns={}", self.columns.len())?;
        self.archived_files.map_or(Ok(()), |files| write!(f, ", archived_files={files}"))
    }
}

impl Reader for MetricReader {
    fn read(&self, reading: Reading<'_>) -> Result<(), Error> {
        let Reading { range, limit, cancel, give } = reading;
        if range.is_empty() || limit == Some(0) {
            return Ok(());
        }
        let request = SampleRequest { limits: self.limits, cancel, ..SampleRequest::new(range) };
        let mut left = limit.map_or(usize::MAX, |rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let mut rows = Rows::default();
        let visit = |series: &Arc<Series>, times: &[i64], values: &[f64]| {
            for (times, values) in times.chunks(BATCH_ROWS).zip(values.chunks(BATCH_ROWS)) {
                let wanted = times.len().min(left);
                rows.add(series, times.get(..wanted), values.get(..wanted));
                left -= wanted;
                if rows.times.len() >= BATCH_ROWS {
                    give(self.batch(&mut rows)?)?;
                }
                if left == 0 {
                    return Err(Error::Cancelled);
                }
            }
            Ok(())
        };
        let read = self.past.for_each_run(&self.metric, &self.selector, &request, visit);
        // As many as were wanted end the reading.
        read.or_else(|error| if left == 0 { Ok(()) } else { Err(error) })?;
        if rows.times.is_empty() { Ok(()) } else { give(self.batch(&mut rows)?) }
    }
}

/// Rows on their way into a batch.
#[derive(Debug, Default)]
struct Rows {
    times: Vec<i64>,
    values: Vec<f64>,
    /// Series, and how many of the rows are theirs.
    series: Vec<(Arc<Series>, usize)>,
}

impl Rows {
    fn add(&mut self, series: &Arc<Series>, times: Option<&[i64]>, values: Option<&[f64]>) {
        let times = times.unwrap_or_default();
        self.times.extend_from_slice(times);
        self.values.extend_from_slice(values.unwrap_or_default());
        match self.series.last_mut() {
            Some((last, rows)) if Arc::ptr_eq(last, series) => *rows += times.len(),
            _ => self.series.push((Arc::clone(series), times.len())),
        }
    }

    /// The values of a label.
    fn label(&self, label: &str) -> Result<ArrayRef, ArrowError> {
        let mut texts: Vec<&str> = Vec::new();
        let mut ids: Vec<Option<u32>> = Vec::with_capacity(self.times.len());
        for (series, rows) in &self.series {
            let text = series.label(label);
            let id = (!text.is_empty()).then(|| {
                // Series come sorted, so that their values often repeat those of the last one.
                if texts.last() != Some(&text) {
                    texts.push(text);
                }
                texts.len() as u32 - 1
            });
            ids.extend(std::iter::repeat_n(id, *rows));
        }
        let (ids, texts) = (UInt32Array::from(ids), StringArray::from(texts));
        Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(ids, Arc::new(texts))?))
    }
}

impl MetricReader {
    /// The rows so far, as a batch; the next ones begin anew.
    fn batch(&self, rows: &mut Rows) -> Result<RecordBatch, Error> {
        let mut rows = std::mem::take(rows);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.times.len()));
        let labels = self.columns.iter().map(|&at| match at.checked_sub(2) {
            Some(at) => self.labels.get(at).map(|label| rows.label(label)).transpose(),
            None => Ok(None),
        });
        labels
            .collect::<Result<Vec<_>, _>>()
            .and_then(|labels| {
                let columns = self.columns.iter().zip(labels).map(|(&at, label)| {
                    label.unwrap_or_else(|| match at {
                        0 => times(std::mem::take(&mut rows.times)),
                        _ => {
                            let values = ScalarBuffer::from(std::mem::take(&mut rows.values));
                            Arc::new(Float64Array::new(values, None))
                        }
                    })
                });
                let schema = Arc::clone(&self.schema);
                RecordBatch::try_new_with_options(schema, columns.collect(), &options)
            })
            .map_err(|error| Error::InvalidArgument { what: "columns", reason: error.to_string() })
    }
}
