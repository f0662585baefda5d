//! Rows of the engine as columns of Arrow.
//!
//! Values are moved, not converted; texts stay the dictionaries that they are.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, StringArray,
    TimestampNanosecondArray, UInt32Array,
};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit, UInt32Type};
use datafusion::arrow::error::ArrowError;

use crate::integration::arrow::TIME;
use crate::model::{Bitmap, EventColumn, EventData, EventKind, EventVector};

/// The time zone of times.
pub(super) const UTC: &str = "UTC";

/// The column of times, first of every table.
pub(super) fn time_field() -> Field {
    Field::new(TIME, DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())), false)
}

/// A column of texts, most of which repeat.
pub(super) fn text_field(name: &str) -> Field {
    let texts = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    Field::new(name, texts, true)
}

/// A column of events, its unit and what it means as metadata.
pub(super) fn event_field(column: &EventColumn) -> Field {
    let field = match column.kind {
        EventKind::Integer => Field::new(&column.name, DataType::Int64, true),
        EventKind::Float => Field::new(&column.name, DataType::Float64, true),
        EventKind::Boolean => Field::new(&column.name, DataType::Boolean, true),
        EventKind::Text => text_field(&column.name),
    };
    let said = [("unit", &column.unit), ("help", &column.help)];
    let said = said.into_iter().filter(|(_, text)| !text.is_empty());
    field.with_metadata(said.map(|(key, text)| (key.to_owned(), text.clone())).collect())
}

/// Times, nanoseconds since the epoch.
pub(super) fn times(times: Vec<i64>) -> ArrayRef {
    let times = TimestampNanosecondArray::new(ScalarBuffer::from(times), None);
    Arc::new(times.with_timezone(UTC))
}

fn bits(bitmap: &Bitmap) -> BooleanBuffer {
    BooleanBuffer::new(Buffer::from_vec(bitmap.words().to_vec()), 0, bitmap.len())
}

/// Dictionaries that were made into Arrow before, by column: those of one stretch of rows share
/// theirs.
#[derive(Debug, Default)]
pub(super) struct Dictionaries(HashMap<usize, Known>);

/// A dictionary, and what was made of it.
type Known = (Arc<Vec<Arc<str>>>, Arc<StringArray>);

impl Dictionaries {
    /// A column as Arrow.
    ///
    /// # Errors
    /// [`ArrowError`] where an id is not of the dictionary, which no reader hands out.
    pub(super) fn array(&mut self, at: usize, data: EventData) -> Result<ArrayRef, ArrowError> {
        let nulls = data.present.as_ref().map(|present| NullBuffer::new(bits(present)));
        Ok(match data.values {
            EventVector::Integer(values) => {
                Arc::new(Int64Array::try_new(ScalarBuffer::from(values), nulls)?)
            }
            EventVector::Float(values) => {
                Arc::new(Float64Array::try_new(ScalarBuffer::from(values), nulls)?)
            }
            EventVector::Boolean(values) => {
                if nulls.as_ref().is_some_and(|nulls| nulls.len() != values.len()) {
                    let reason = "as many nulls as booleans".to_owned();
                    return Err(ArrowError::InvalidArgumentError(reason));
                }
                Arc::new(BooleanArray::new(bits(&values), nulls))
            }
            EventVector::Text { ids, dictionary } => {
                let texts = self.texts(at, dictionary);
                let ids = UInt32Array::try_new(ScalarBuffer::from(ids), nulls)?;
                Arc::new(DictionaryArray::<UInt32Type>::try_new(ids, texts)?)
            }
        })
    }

    fn texts(&mut self, at: usize, dictionary: Arc<Vec<Arc<str>>>) -> Arc<StringArray> {
        if let Some((known, texts)) = self.0.get(&at)
            && Arc::ptr_eq(known, &dictionary)
        {
            return Arc::clone(texts);
        }
        let texts: StringArray = dictionary.iter().map(|text| Some(&**text)).collect();
        let texts = Arc::new(texts);
        self.0.insert(at, (dictionary, Arc::clone(&texts)));
        texts
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::compute::cast;

    use super::*;

    #[test]
    fn columns_keep_values_and_nulls() {
        let present = |rows: &[bool]| Some(rows.iter().copied().collect::<Bitmap>());
        let dictionary = Arc::new(vec![Arc::from("a"), Arc::from("b")]);
        let ids = |ids: &[u32]| EventVector::Text {
            ids: ids.to_vec(),
            dictionary: Arc::clone(&dictionary),
        };
        let mut known = Dictionaries::default();
        let integers = EventVector::Integer(vec![7, 0, -1]);
        let data = EventData { present: present(&[true, false, true]), values: integers };
        let array = known.array(0, data).unwrap();
        let expected = Int64Array::from(vec![Some(7), None, Some(-1)]);
        assert_eq!(array.as_primitive(), &expected);
        // An id where nothing stands may be any.
        let data = EventData { present: present(&[true, false, true]), values: ids(&[1, 9, 0]) };
        let one = known.array(1, data).unwrap();
        let plain = cast(&one, &DataType::Utf8).unwrap();
        let texts = StringArray::from(vec![Some("b"), None, Some("a")]);
        assert_eq!(plain.as_string::<i32>(), &texts);
        let two = known.array(1, EventData { present: None, values: ids(&[0]) }).unwrap();
        let values = |array: &ArrayRef| array.as_dictionary::<UInt32Type>().values().to_data();
        assert!(values(&one).ptr_eq(&values(&two)), "one dictionary");
        let bits: Bitmap = (0..70).map(|row| row % 3 == 0).collect();
        let data = EventData { present: None, values: EventVector::Boolean(bits.clone()) };
        let array = known.array(2, data).unwrap();
        assert!(array.as_boolean().iter().map(Option::unwrap).eq(bits.iter()));
    }
}
