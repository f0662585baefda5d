//! One Parquet file of rows of events: `time`, then the table's columns, each optional; sorted by
//! time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type as Node, TypePtr};

use super::columns::Output;
use super::digest::{ColumnDigest, GroupDigest};
use super::sink::{Sink, told};
use super::table::{ROW_GROUP_BYTES, Written, begin, publish};
use crate::error::Result;
use crate::fs::Fs;
use crate::model::{
    EventBuilder, EventData, EventKind, EventRows, EventSchema, EventVector, TIME_COLUMN,
};

/// A file of rows being written, as [`Table`](super::Table) is. Rows come by time.
pub(super) struct EventFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    building: PathBuf,
    writer: SerializedFileWriter<Sink>,
    buffer: EventBuilder,
    /// Of each row group so far.
    digests: Vec<GroupDigest>,
    rows: u64,
}

impl EventFile {
    /// Begins a file that is to be `path`, in a directory that exists.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub(super) fn create(fs: &Arc<dyn Fs>, path: &Path, schema: &EventSchema) -> Result<Self> {
        let (building, sink) = begin(fs, path)?;
        let write = told("write", &building);
        let message = message(schema).map_err(&write)?;
        let properties = properties(schema).map_err(&write)?;
        let writer =
            SerializedFileWriter::new(sink, message, Arc::new(properties)).map_err(&write)?;
        Ok(Self {
            fs: Arc::clone(fs),
            path: path.to_owned(),
            building,
            writer,
            buffer: EventBuilder::new(schema.columns().iter().map(|column| column.kind)),
            digests: Vec::new(),
            rows: 0,
        })
    }

    /// Rows so far.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends rows behind those before.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub(super) fn push(&mut self, rows: &EventRows) -> Result<()> {
        self.buffer.append(rows, 0..rows.len());
        self.rows += rows.len() as u64;
        if self.buffer.rows().memory_bytes() >= ROW_GROUP_BYTES {
            self.write_row_group()?;
        }
        Ok(())
    }

    fn write_row_group(&mut self) -> Result<()> {
        let rows = self.buffer.take();
        let write = told("write", &self.building);
        let mut digests = vec![ColumnDigest::default(); self.writer.schema_descr().num_columns()];
        let row_group = self.writer.next_row_group().map_err(&write)?;
        let mut output = Output { row_group, digests: digests.iter_mut() };
        output.column::<Int64Type>(&rows.times, None, None).map_err(&write)?;
        for column in &rows.columns {
            put(&mut output, column).map_err(&write)?;
        }
        let written = output.row_group.close().map_err(&write)?;
        self.digests.push(GroupDigest::new(&written, &digests));
        Ok(())
    }

    /// Ends the file, as [`Table::finish`](super::Table::finish) does.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub(super) fn finish(mut self) -> Result<Written> {
        if !self.buffer.rows().is_empty() {
            self.write_row_group()?;
        }
        let Self { fs, path, building, writer, digests, rows, .. } = self;
        publish(&fs, writer, (&building, &path), rows, &digests)
    }

    /// Gives up: removes what was written.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub(super) fn discard(self) -> Result<()> {
        self.fs.remove_file(&self.building)
    }
}

fn message(schema: &EventSchema) -> ParquetResult<TypePtr> {
    let node = |name: &str, kind: Type, repetition, logical: Option<LogicalType>| {
        let node = Node::primitive_type_builder(name, kind);
        node.with_repetition(repetition).with_logical_type(logical).build().map(Arc::new)
    };
    let nanos = LogicalType::timestamp(true, TimeUnit::NANOS);
    let mut fields = vec![node(TIME_COLUMN, Type::INT64, Repetition::REQUIRED, Some(nanos))?];
    for column in schema.columns() {
        let (kind, logical) = match column.kind {
            EventKind::Integer => (Type::INT64, None),
            EventKind::Float => (Type::DOUBLE, None),
            EventKind::Boolean => (Type::BOOLEAN, None),
            EventKind::Text => (Type::BYTE_ARRAY, Some(LogicalType::String)),
        };
        fields.push(node(&column.name, kind, Repetition::OPTIONAL, logical)?);
    }
    Node::group_type_builder("events").with_fields(fields).build().map(Arc::new)
}

fn properties(schema: &EventSchema) -> ParquetResult<WriterProperties> {
    let time = ColumnPath::from(vec![TIME_COLUMN.to_owned()]);
    let by_time = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let told = [
        ("icecore.table", schema.table().to_owned()),
        ("icecore.version", schema.version().to_string()),
    ];
    let told = told.map(|(key, value)| KeyValue::new(key.to_owned(), value));
    Ok(WriterProperties::builder()
        .set_created_by(concat!("icecore version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(vec![by_time]))
        .set_key_value_metadata(Some(told.to_vec()))
        .set_column_dictionary_enabled(time.clone(), false)
        .set_column_encoding(time, Encoding::DELTA_BINARY_PACKED)
        .build())
}

/// Writes a column: a level a row, which says whether it has a value, and the values.
fn put(output: &mut Output<'_, '_>, column: &EventData) -> ParquetResult<()> {
    let levels: Vec<i16> = (0..column.len()).map(|row| i16::from(column.is_present(row))).collect();
    let rows = || (0..column.len()).filter(|&row| column.is_present(row));
    let levels = Some(&levels[..]);
    match &column.values {
        EventVector::Integer(values) => {
            let values: Vec<i64> = rows().filter_map(|row| values.get(row).copied()).collect();
            output.column::<Int64Type>(&values, levels, None)
        }
        EventVector::Float(values) => {
            let values: Vec<f64> = rows().filter_map(|row| values.get(row).copied()).collect();
            output.column::<DoubleType>(&values, levels, None)
        }
        EventVector::Boolean(bits) => {
            let values: Vec<bool> = rows().map(|row| bits.get(row)).collect();
            output.column::<BoolType>(&values, levels, None)
        }
        EventVector::Text { dictionary, ids } => {
            let texts: Vec<ByteArray> =
                dictionary.iter().map(|text| text.as_bytes().to_vec().into()).collect();
            let text = |row: usize| texts.get(*ids.get(row)? as usize).cloned();
            let values: Vec<ByteArray> = rows().filter_map(text).collect();
            output.column::<ByteArrayType>(&values, levels, None)
        }
    }
}
