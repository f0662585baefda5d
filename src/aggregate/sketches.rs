//! `Sketches`: a column of sketches, in one piece of memory.

use std::ops::Range;

use super::sketch::{Bin, SketchRef};

/// Sketches one after another, the bins of all in one list: a column of records, which is filled and
/// emptied many times and asks for memory once.
///
/// ```
/// use icecore::aggregate::{Sketch, Sketches};
///
/// let mut column = Sketches::default();
/// column.push(&Sketch::of(&[1.0, 2.0]));
/// column.push(&Sketch::default());
/// assert_eq!(column.len(), 2);
/// assert_eq!(column.get(0).map(|sketch| sketch.count()), Some(2));
/// assert!(column.get(1).is_some_and(|sketch| sketch.is_empty()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketches {
    /// Of each sketch the positive ones, then the negative ones, each ascending.
    bins: Vec<Bin>,
    rows: Vec<Row>,
}

/// A sketch but for its bins, which begin where those of the sketch before it end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    count: u64,
    zero: u64,
    /// Where its positive bins end, and its negative ones begin.
    middle: usize,
    end: usize,
}

/// What a sketch holds beside the bins that were just laid.
pub(crate) struct Laid {
    /// Values in all bins and in none.
    pub(crate) count: u64,
    pub(crate) zero: u64,
    /// How many of the bins are positive ones: the first.
    pub(crate) positive: usize,
}

impl Sketches {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Removes all, keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.bins.clear();
    }

    /// Where the bins of a row begin: of the row behind the last one, where the next one's will.
    fn begin(&self, row: usize) -> usize {
        row.checked_sub(1).and_then(|before| self.rows.get(before)).map_or(0, |row| row.end)
    }

    /// The one at a row, counted from 0.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<SketchRef<'_>> {
        let &Row { count, zero, middle, end } = self.rows.get(row)?;
        let (positive, negative) =
            (self.bins.get(self.begin(row)..middle)?, self.bins.get(middle..end)?);
        Some(SketchRef::of_parts(count, zero, positive, negative))
    }

    /// All, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SketchRef<'_>> + Clone {
        self.range(0..self.len())
    }

    /// Those of some rows, in order; of rows beyond the last none.
    pub fn range(
        &self,
        rows: Range<usize>,
    ) -> impl ExactSizeIterator<Item = SketchRef<'_>> + Clone {
        let within = rows.start.min(self.len())..rows.end.min(self.len());
        within.map(|row| self.get(row).unwrap_or_default())
    }

    /// Appends one.
    pub fn push<'s>(&mut self, sketch: impl Into<SketchRef<'s>>) {
        let sketch = sketch.into();
        self.bins.extend_from_slice(sketch.positive());
        let middle = self.bins.len();
        self.bins.extend_from_slice(sketch.negative());
        let (count, zero, end) = (sketch.count(), sketch.zero(), self.bins.len());
        self.rows.push(Row { count, zero, middle, end });
    }

    /// Appends one whose bins `lay` appends to those before: sound ones, positive before negative.
    ///
    /// # Errors
    /// That of `lay`; nothing was appended then.
    pub(crate) fn try_push<E>(
        &mut self,
        lay: impl FnOnce(&mut Vec<Bin>) -> Result<Laid, E>,
    ) -> Result<(), E> {
        let begin = self.bins.len();
        let laid = lay(&mut self.bins).inspect_err(|_| self.bins.truncate(begin));
        let Laid { count, zero, positive } = laid?;
        self.rows.push(Row { count, zero, middle: begin + positive, end: self.bins.len() });
        debug_assert!(self.get(self.len() - 1).is_some_and(|laid| laid.is_sound()));
        Ok(())
    }

    /// Makes room for so many more sketches, of so many bins together.
    pub(crate) fn reserve(&mut self, sketches: usize, bins: usize) {
        self.rows.reserve(sketches);
        self.bins.reserve(bins);
    }

    /// Appends all of another column.
    pub fn append(&mut self, other: &Self) {
        let shift = self.bins.len();
        self.bins.extend_from_slice(&other.bins);
        self.rows.extend(other.rows.iter().map(|row| row.moved(|at| at + shift)));
    }

    /// Removes the sketches of some rows; those behind them move up. Rows beyond the last are none.
    pub fn remove(&mut self, rows: Range<usize>) {
        let end = rows.end.min(self.len());
        let start = rows.start.min(end);
        let bins = self.begin(start)..self.begin(end);
        let shift = bins.len();
        self.rows.drain(start..end);
        self.bins.drain(bins);
        for row in self.rows.iter_mut().skip(start) {
            *row = row.moved(|at| at - shift);
        }
    }

    /// Keeps those of which `keep` says so, by their rows. Cost: copies what is kept.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let kept = self.iter().enumerate().filter(|(row, _)| keep(*row));
        *self = kept.map(|(_, sketch)| sketch).collect();
    }

    /// Appends empty ones until there are `len`, or removes the last ones.
    pub fn resize(&mut self, len: usize) {
        self.remove(len..self.len());
        let end = self.bins.len();
        self.rows.resize(len, Row { count: 0, zero: 0, middle: end, end });
    }

    /// Bytes of what it holds.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.rows) + size_of_val(&*self.bins)
    }
}

impl Row {
    fn moved(self, place: impl Fn(usize) -> usize) -> Self {
        Self { middle: place(self.middle), end: place(self.end), ..self }
    }
}

impl<'s, S: Into<SketchRef<'s>>> Extend<S> for Sketches {
    fn extend<I: IntoIterator<Item = S>>(&mut self, sketches: I) {
        sketches.into_iter().for_each(|sketch| self.push(sketch));
    }
}

impl<'s, S: Into<SketchRef<'s>>> FromIterator<S> for Sketches {
    fn from_iter<I: IntoIterator<Item = S>>(sketches: I) -> Self {
        let mut column = Self::default();
        column.extend(sketches);
        column
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Sketch;
    use super::*;

    fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
        let values = prop::collection::vec(-100.0..100.0_f64, 0..12);
        prop::collection::vec(values.prop_map(|values| Sketch::of(&values)), 0..12)
    }

    proptest! {
        /// Every change is that of a list of sketches.
        #[test]
        fn a_column_is_a_list(
            list in sketches(), other in sketches(), rows in (0..14_usize, 0..14_usize), len in 0..14_usize,
            keep: [bool; 12],
        ) {
            let of = |list: &[Sketch]| list.iter().collect::<Sketches>();
            let column = of(&list);
            prop_assert!(column.iter().eq(list.iter().map(Sketch::view)));
            prop_assert_eq!(column.get(list.len()), None);

            let mut appended = column.clone();
            appended.append(&of(&other));
            prop_assert_eq!(&appended, &of(&[list.clone(), other].concat()));

            let (start, end) = (rows.0.min(rows.1), rows.0.max(rows.1));
            let (mut cut, mut removed) = (list.clone(), column.clone());
            cut.drain(start.min(list.len())..end.min(list.len()));
            removed.remove(start..end);
            prop_assert_eq!(removed, of(&cut));

            let (mut long, mut resized) = (list.clone(), column.clone());
            long.resize(len, Sketch::default());
            resized.resize(len);
            prop_assert_eq!(resized, of(&long));

            let mut retained = column;
            retained.retain(|row| keep[row]);
            let kept = list.iter().zip(keep).filter(|(_, keep)| *keep);
            prop_assert_eq!(retained, kept.map(|(sketch, _)| sketch).collect());
        }
    }

    #[test]
    fn what_fails_to_be_laid_leaves_nothing() {
        let mut column: Sketches = [&Sketch::of(&[1.0])].into_iter().collect();
        let before = column.clone();
        let laid = column.try_push(|bins| {
            bins.push(Bin { index: 1, count: 1 });
            Err::<Laid, _>("no")
        });
        assert_eq!(laid, Err("no"));
        assert_eq!(column, before);
    }
}
