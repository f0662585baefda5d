//! The series table: the identities that a part holds, and what is known of their metrics.
//!
//! Owns: its bytes. A part's chunks name a series by its place in the part's table, so that a
//! part reads back without anything beside it. Does not own: ids ([`Index`](super::Index)), or
//! where in a part the table stands.
//!
//! Names and values stand once, in ascending dictionaries; a series is its *shape* (which labels
//! it has, a number shared by all that have the same) and one reference for each value. Every
//! label's references are a column of differences: in sorted series mostly runs of 0 and 1. The
//! layout stands in `docs/format.md`.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::encode;

use crate::model::{LABEL_PAIRS_MAX, Metadata, Series};

const MAGIC: [u8; 4] = *b"ICST";
const VERSION: u8 = 1;
const WHAT: &str = "series table";

/// The most bytes that the references take, which bounds what damaged bytes make a reader
/// allocate: some 28 million series of 8 labels.
const NUMBERS_BYTES_MAX: usize = 256 << 20;

/// A decoded table. Series are made when asked for, since an index knows most of them already;
/// until then one takes 4 bytes for its name, for each label, and 8.
#[derive(Debug)]
pub struct SeriesTable {
    texts: Vec<String>,
    /// Places in `texts` of each shape's label names.
    shapes: Vec<Vec<u32>>,
    /// Shape, and where in `places` the series begins.
    rows: Vec<(u32, u32)>,
    /// Places in `texts`: for each series its metric name, then the values of its labels.
    places: Vec<u32>,
    metadata: Vec<(String, Metadata)>,
}

impl SeriesTable {
    /// Series in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The series, strictly ascending: the order in which they were given to [`encode`].
    pub fn series(&self) -> impl ExactSizeIterator<Item = Series> {
        let mut pairs = Vec::with_capacity(LABEL_PAIRS_MAX);
        self.rows.iter().map(move |&(shape, start)| {
            let labels = self.shapes.get(shape as usize).map_or(&[][..], Vec::as_slice);
            let places = self.places.get(start as usize..).unwrap_or_default();
            let (name, values) = places.split_first().unwrap_or((&u32::MAX, &[]));
            pairs.clear();
            pairs.extend(labels.iter().zip(values).map(|(&l, &v)| (self.text(l), self.text(v))));
            Series::from_sorted(self.text(*name), &pairs)
        })
    }

    /// What is known of metrics, in the order given to [`encode`].
    #[must_use]
    pub fn metadata(&self) -> &[(String, Metadata)] {
        &self.metadata
    }

    fn text(&self, place: u32) -> &str {
        self.texts.get(place as usize).map_or("", String::as_str)
    }

    /// What orders a series as its texts do, since the dictionaries ascend.
    fn key(&self, row: usize) -> Option<impl Iterator<Item = u32>> {
        let &(shape, start) = self.rows.get(row)?;
        let (name, values) = self.places.get(start as usize..)?.split_first()?;
        let labels = self.shapes.get(shape as usize)?.iter().zip(values);
        Some(std::iter::once(*name).chain(labels.flat_map(|(&label, &value)| [label, value])))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::bytes::write_frame;
    use crate::model::MetricKind;
    use crate::model::tests::{any_series, small_series};

    fn sorted(series: impl IntoIterator<Item = Series>) -> Vec<Arc<Series>> {
        BTreeSet::from_iter(series).into_iter().map(Arc::new).collect()
    }

    fn round_trip(series: &[Arc<Series>], metadata: &[(String, Metadata)]) -> usize {
        let bytes = encode(series, metadata).unwrap();
        let table = decode(&bytes).unwrap();
        assert!(table.series().eq(series.iter().map(|series| Series::clone(series))));
        assert_eq!((table.len(), table.metadata()), (series.len(), metadata));
        bytes.len()
    }

    fn any_metadata() -> impl Strategy<Value = (String, Metadata)> {
        let kind = prop::sample::select(vec![
            MetricKind::Untyped,
            MetricKind::Counter,
            MetricKind::Gauge,
            MetricKind::Distribution,
        ]);
        let metric = prop::sample::select(vec!["up", "http.requests", "other"]);
        (metric, kind, "[a-z]{0,5}", any::<String>()).prop_map(|(metric, kind, unit, help)| {
            (metric.to_owned(), Metadata { kind, unit, help })
        })
    }

    proptest! {
        #[test]
        fn tables_round_trip(
            some in prop::collection::vec(any_series(), 0..20),
            alike in prop::collection::vec(small_series(), 0..60),
            metadata in prop::collection::vec(any_metadata(), 0..6),
        ) {
            round_trip(&sorted(some.into_iter().chain(alike)), &metadata);
        }

        #[test]
        fn framed_noise_decodes_without_panic(
            at in any::<prop::sample::Index>(),
            byte: u8,
            noise in prop::collection::vec(any::<u8>(), 0..40),
            series in prop::collection::vec(small_series(), 0..10),
        ) {
            // A right checksum over a damaged body: only the decoder's own checks stand.
            let good = encode(&sorted(series), &[]).unwrap();
            let mut body = good[13..].to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            for body in [body, noise] {
                let mut bytes = Vec::new();
                write_frame(&mut bytes, MAGIC, VERSION, &body);
                if let Ok(table) = decode(&bytes) {
                    let series: Vec<Series> = table.series().collect();
                    prop_assert!(series.is_sorted_by(|a, b| a < b));
                    for series in series {
                        prop_assert_eq!(&Series::parse(&series.to_string()).unwrap(), &series);
                    }
                }
            }
        }
    }

    fn small_table() -> Vec<u8> {
        let series = ["up", r#"up{job="a"}"#, r#"up{job="b",zone="é"}"#];
        let series = sorted(series.iter().map(|text| Series::parse(text).unwrap()));
        let known = Metadata {
            kind: MetricKind::Gauge,
            unit: "s".to_owned(),
            help: "Whether it is up.".to_owned(),
        };
        encode(&series, &[("up".to_owned(), known)]).unwrap()
    }

    #[test]
    fn golden_bytes_read_forever() {
        // Taken apart in docs/format.md.
        let golden = "494353540150000000c8dc5272082f002f0003000400020001000100020001\
                      00116a6f627a6f6e6575706162c3a973576865746865722069742069732075\
                      702e1a001a0201030301020100010002000100010200000002000201000002";
        let hex: String = small_table().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn every_flip_and_cut_is_an_error() {
        let bytes = small_table();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn bad_arguments_are_refused() {
        let [a, b] = ["a", "b"].map(|text| Arc::new(Series::parse(text).unwrap()));
        assert!(encode(&[b.clone(), a.clone()], &[]).is_err());
        assert!(encode(&[a.clone(), a.clone()], &[]).is_err());
        assert!(encode(&[a, b], &[(String::new(), Metadata::default())]).is_err());
        assert_eq!(round_trip(&[], &[]), 25);
    }

    #[test]
    fn many_series_are_small() {
        let text = |i: usize| {
            format!(
                "http_requests_{}{{cluster=\"eu\",code=\"{}\",instance=\"10.0.{}.{}:9100\",\
                 job=\"api\",method=\"{}\",path=\"/v1/items/{}\",pod=\"api-{:x}-{:05x}\",zone=\"z{}\"}}",
                i % 7,
                200 + i % 5,
                i / 250 % 250,
                i % 250,
                i % 3,
                i % 40,
                i / 40,
                i.wrapping_mul(2654435761) % 1048576,
                i % 3
            )
        };
        let series = sorted((0..10_000).map(|i| Series::parse(&text(i)).unwrap()));
        let start = Instant::now();
        let bytes = encode(&series, &[]).unwrap();
        let encoded = start.elapsed();
        let start = Instant::now();
        let table = decode(&bytes).unwrap();
        let decoded = start.elapsed();
        let start = Instant::now();
        let count = table.series().count();
        let made = start.elapsed();
        println!("{} B, encode {encoded:?}, decode {decoded:?}, series {made:?}", bytes.len());
        assert_eq!(count, series.len());
        assert!(bytes.len() <= 15 * series.len(), "{} bytes", bytes.len());
    }
}
