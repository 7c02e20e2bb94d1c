//! A reading, as it comes in. What the database would refuse cannot be made.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
    ser::Error as _,
};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// A reading that a client sends.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reading {
    /// Of the client's making, so that sending it again writes it once; else made here.
    #[serde(default = "Uuid::now_v7", deserialize_with = "id")]
    pub(crate) id: Uuid,
    #[serde(deserialize_with = "sensor")]
    pub(crate) sensor: String,
    #[serde(deserialize_with = "value")]
    pub(crate) value: f64,
    #[serde(default)]
    pub(crate) at: At,
}

/// What `POST /readings` takes: one reading, or an array of them.
#[derive(Debug, PartialEq)]
pub(crate) struct Readings(pub(crate) Vec<Reading>);

impl<'de> Deserialize<'de> for Readings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Readings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reading or an array of readings")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Readings, A::Error> {
                let one = Reading::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Readings(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Readings, A::Error> {
                let mut many = Vec::new();
                while let Some(Element(reading)) = seq.next_element()? {
                    many.push(reading);
                }
                Ok(Readings(many))
            }
        }

        /// A reading in an array. serde would also take an array of the fields' values for one.
        struct Element(Reading);

        impl<'de> Deserialize<'de> for Element {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(One).map(Self)
            }
        }

        struct One;

        impl<'de> Visitor<'de> for One {
            type Value = Reading;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reading")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Reading, A::Error> {
                Reading::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom("takes a UUID"))
}

fn sensor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_sensor(&name) {
        Ok(name)
    } else {
        Err(D::Error::custom(
            "takes 1 to 200 characters, none of them a control character",
        ))
    }
}

/// Whether a sensor can have this name.
pub(crate) fn is_sensor(name: &str) -> bool {
    (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    match value.is_finite() {
        true => Ok(value),
        false => Err(D::Error::custom("takes a finite number")),
    }
}

/// When something was measured: years 1 to 9999 in UTC, in whole microseconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct At {
    micros: i64,
}

impl At {
    /// The moment that is `micros` microseconds after the beginning of 1970 in UTC.
    pub(crate) fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    pub(crate) fn micros(self) -> i64 {
        self.micros
    }

    /// The moment, if it is in range.
    fn of(time: OffsetDateTime) -> Option<Self> {
        let time = time.checked_to_offset(UtcOffset::UTC)?;
        let micros = time.unix_timestamp_nanos().div_euclid(1000);
        let micros = i64::try_from(micros).ok()?;
        (1..=9999).contains(&time.year()).then_some(Self { micros })
    }
}

impl Default for At {
    fn default() -> Self {
        Self::of(OffsetDateTime::now_utc()).expect("this is one of the years 1 to 9999")
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = OffsetDateTime::parse(&text, &Rfc3339).ok().and_then(At::of);
        time.ok_or_else(|| D::Error::custom("takes a time as in RFC 3339, in the years 1 to 9999"))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = i128::from(self.micros) * 1000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos);
        let text = time.map_err(S::Error::custom)?.format(&Rfc3339);
        text.map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<usize, &str>) {
        let read = serde_json::from_str::<Readings>(json);
        match (read, expected) {
            (Ok(readings), Ok(count)) => assert_eq!(readings.0.len(), count, "{json}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (read, _) => panic!("{json}: {read:?}"),
        }
    }

    #[test]
    fn one_or_many() {
        let one = r#"{"sensor":"a","value":1}"#;
        check(one, Ok(1));
        check(&format!("[{one},{one}]"), Ok(2));
        check("[]", Ok(0));
        check("7", Err("a reading or an array of readings"));
        check("[7]", Err("expected a reading"));
        check(r#"[["a",1]]"#, Err("expected a reading"));
        check(r#"{"sensor":"a"}"#, Err("missing field `value`"));
        check(
            r#"{"sensor":"a","value":1,"unit":"C"}"#,
            Err("unknown field `unit`"),
        );
    }

    #[test]
    fn what_the_database_would_refuse_is_refused() {
        let sensor = |name: &str| format!(r#"{{"sensor":{},"value":1}}"#, serde_json::json!(name));
        check(&sensor(""), Err("1 to 200 characters"));
        check(&sensor(&"x".repeat(200)), Ok(1));
        check(&sensor(&"é".repeat(200)), Ok(1));
        check(&sensor(&"x".repeat(201)), Err("1 to 200 characters"));
        check(&sensor("a\u{0}b"), Err("control"));
        check(&sensor("a\u{85}b"), Err("control"));
        check(
            r#"{"sensor":"a","value":1e999}"#,
            Err("number out of range"),
        );
        check(r#"{"sensor":"a","value":"1"}"#, Err("expected f64"));
        check(r#"{"sensor":"a","value":1,"id":"x"}"#, Err("UUID"));
    }

    #[test]
    fn times_are_rfc_3339_in_the_years_1_to_9999() {
        let at = |text: &str| serde_json::from_value::<At>(serde_json::json!(text)).ok();
        let micros = |text| at(text).map(At::micros);
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("1970-01-01T01:00:00.0000019+01:00"), Some(1));
        assert_eq!(micros("1969-12-31T23:59:59.9999999Z"), Some(-1));
        for kept in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            let shown = serde_json::to_value(at(kept)).expect("in range");
            assert_eq!(shown, kept);
        }
        for refused in [
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "0000-12-31T00:00:00Z",
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-02-30T10:00:00Z",
            "tomorrow",
            "",
        ] {
            assert_eq!(at(refused), None, "{refused}");
        }
    }
}
