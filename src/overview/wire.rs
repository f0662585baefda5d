//! How times, ids and outcomes are written as JSON: exactly, and as people read them.

/// RFC 3339, UTC.
pub(super) mod time {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::integration::notation::{Rfc3339, parse_timestamp};
    use crate::time::Timestamp;

    pub(in crate::overview) fn serialize<S: Serializer>(
        at: &Timestamp,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&Rfc3339(*at))
    }

    pub(in crate::overview) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Timestamp, D::Error> {
        parse(&String::deserialize(from)?)
    }

    pub(super) fn parse<E: de::Error>(text: &str) -> Result<Timestamp, E> {
        parse_timestamp(text).ok_or_else(|| E::custom(format!("{text:?} is no time")))
    }
}

/// RFC 3339 or null.
pub(super) mod time_or_none {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Timestamp;

    pub(in crate::overview) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::time::serialize(at, to),
            None => to.serialize_none(),
        }
    }

    pub(in crate::overview) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| super::time::parse(&text)).transpose()
    }
}

/// 16 hexadecimal digits: as a number it would be more than a reader in JavaScript can hold.
pub(super) mod id {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::monitor::QueryId;
    use crate::overview::parse_id;

    pub(in crate::overview) fn serialize<S: Serializer>(
        id: &QueryId,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(in crate::overview) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<QueryId, D::Error> {
        let text = String::deserialize(from)?;
        parse_id(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no query's id")))
    }
}

/// Its name; null while there is none.
pub(super) mod outcome {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::monitor::OutcomeKind;

    pub(in crate::overview) fn serialize<S: Serializer>(
        outcome: &Option<OutcomeKind>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        outcome.map(OutcomeKind::name).serialize(to)
    }

    pub(in crate::overview) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<OutcomeKind>, D::Error> {
        let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let kind = OutcomeKind::parse(&name);
        kind.map(Some).ok_or_else(|| de::Error::custom(format!("{name:?} is no outcome")))
    }
}
