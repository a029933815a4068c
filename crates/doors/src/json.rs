//! JSON as it is read here (R-INP 30): a document of a megabyte at most, not nested beyond all measure, in which no key
//! is there twice. What another reader could understand in another way is refused instead.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};
use std::fmt;

/// The largest document, in bytes.
pub const LARGEST: usize = 1 << 20;
/// How deep lists and objects may be nested.
pub const DEEPEST: usize = 64;

/// Reads a document.
pub fn read(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.len() > LARGEST {
        return Err(Error::custom(format!("it is larger than {LARGEST} bytes")));
    }
    read_any(bytes)
}

/// Reads a document whatever its size.
pub fn read_any(bytes: &[u8]) -> Result<Value, Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(DEEPEST).deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// A value in which lists and objects may be nested so deep.
#[derive(Clone, Copy)]
struct Strict(usize);

impl Strict {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        self.0
            .checked_sub(1)
            .map(Self)
            .ok_or_else(|| E::custom(format!("it is nested deeper than {DEEPEST}")))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let (inside, mut values) = (self.inside()?, Vec::new());
        while let Some(value) = list.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let (inside, mut values) = (self.inside()?, Map::new());
        while let Some(key) = object.next_key::<String>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} is there twice")));
            }
            values.insert(key, object.next_value_seed(inside)?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_document_is_as_serde_reads_it() {
        let text = r#"{"a": [1, -2, 3.5, "x", "\u00e9", null, true, {"b": {}}], "c": 18446744073709551615}"#;
        assert_eq!(read(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn keys_are_there_once_wherever_they_are() {
        assert!(refused(r#"{"a": 1, "b": 2, "a": 1}"#).contains("the key \"a\" is there twice"));
        assert!(refused(r#"{"x": [{"b": 1, "b": 2}]}"#).contains("twice"));
        assert!(refused("{\"a\": 1, \"\\u0061\": 2}").contains("twice"), "written in another way");
        assert!(read(br#"{"a": {"a": 1}, "b": {"a": 1}}"#).is_ok(), "the control");
    }

    #[test]
    fn nesting_and_size_have_limits() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(DEEPEST).as_bytes()).is_ok());
        assert!(refused(&nested(DEEPEST + 1)).contains("nested deeper"));
        let long = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
        assert!(read(long(LARGEST).as_bytes()).is_ok());
        assert!(refused(&long(LARGEST + 1)).contains("larger"));
        assert!(refused(&format!("1{}2", " ".repeat(LARGEST))).contains("larger"));
        assert!(refused("{} x").contains("trailing"));
    }
}
