//! JSON objects as Go reads them: keys in any case, booleans also as words.

use super::failure::Failure;
use serde_json::{Map, Value};
use std::str::FromStr;

/// An object of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Doc<'a>(pub &'a Map<String, Value>);

impl<'a> Doc<'a> {
    /// The value of a key: of exactly this one, or of one that differs in case only. `null` is none.
    pub fn get(self, key: &str) -> Option<&'a Value> {
        let exact = self.0.get(key);
        let found =
            exact.or_else(|| self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v));
        found.filter(|value| !value.is_null())
    }

    /// A text; an empty one is none.
    pub fn text(self, key: &str) -> Result<Option<&'a str>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(wrong(key, other, "a text")),
        }
    }

    /// A text that is something else, such as an address.
    pub fn parsed<T: FromStr>(self, key: &str, what: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| wrong(key, &text.into(), what))
    }

    /// Whether a switch is on. `"true"` and `"false"` are taken too, as libcni does.
    pub fn is_on(self, key: &str) -> Result<bool, Failure> {
        Ok(self.switch(key)?.unwrap_or(false))
    }

    /// A switch, if it is there.
    pub fn switch(self, key: &str) -> Result<Option<bool>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(*on)),
            Some(Value::String(word)) if word.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(word)) if word.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(other) => Err(wrong(key, other, "true or false")),
        }
    }

    /// A number from 0 to `most`.
    pub fn number(self, key: &str, most: u64) -> Result<Option<u64>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_u64().filter(|number| *number <= most) {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(key, value, &format!("a number from 0 to {most}"))),
            },
        }
    }

    /// An object.
    pub fn object(self, key: &str) -> Result<Option<Doc<'a>>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Doc(map))),
            Some(other) => Err(wrong(key, other, "an object")),
        }
    }

    /// A list; none is an empty one.
    pub fn list(self, key: &str) -> Result<&'a [Value], Failure> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(other) => Err(wrong(key, other, "a list")),
        }
    }

    /// A list of objects.
    pub fn objects(self, key: &str) -> Result<Vec<Doc<'a>>, Failure> {
        let object =
            |value: &'a Value| value.as_object().map(Doc).ok_or_else(|| wrong(key, value, "an object"));
        self.list(key)?.iter().map(object).collect()
    }

    /// A list of texts.
    pub fn texts(self, key: &str) -> Result<Vec<&'a str>, Failure> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| wrong(key, value, "a text"));
        self.list(key)?.iter().map(text).collect()
    }
}

/// The failure for a value that is not what its key takes.
pub(super) fn wrong(key: &str, value: &Value, what: &str) -> Failure {
    Failure::config(format!("`{key}`: {value} is not {what}"))
}
