//! A call's arguments: a MessagePack map, taken apart by name.
//!
//! Not one derived struct for each method: the map is cut into its values first, so that an error names the argument it
//! is about, and a method costs a component a few hundred bytes instead of a few thousand.

use std::io::Cursor;

use serde::Deserialize;
use serde::de::value::Error as NoValue;
use serde::de::{DeserializeOwned, Deserializer, Error, IgnoredAny, Visitor};
use serde::forward_to_deserialize_any;

use crate::Rejection;
use crate::payload::decode;

/// The arguments of one call that nobody has taken yet.
pub struct Arguments<'a> {
    left: Vec<(&'a str, &'a [u8])>,
    known: Vec<&'static str>,
}

impl<'a> Arguments<'a> {
    /// Cuts the map into its values.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let left = split(bytes).ok_or_else(|| bad("arguments are a MessagePack map of names"))?;
        Ok(Self {
            left,
            known: Vec::new(),
        })
    }

    /// The argument of that name. A missing one is an error unless the type is optional.
    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, Rejection> {
        self.known.push(name);
        let Some(at) = self.left.iter().position(|(given, _)| *given == name) else {
            return when_missing().ok_or_else(|| bad(format!("argument `{name}` is missing")));
        };
        let (_, bytes) = self.left.swap_remove(at);
        decode(bytes).map_err(|error| bad(format!("argument `{name}`: {error}")))
    }

    /// Refuses what was given besides the known arguments, or given twice.
    pub fn finish(self) -> Result<(), Rejection> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        Err(bad(if self.known.contains(name) {
            format!("argument `{name}` is given twice")
        } else if self.known.is_empty() {
            format!("argument `{name}` is unknown; the method takes none")
        } else {
            let known = self.known.join("`, `");
            format!("argument `{name}` is unknown; the method takes `{known}`")
        }))
    }
}

/// What a value of the type is when nobody gave it: `None` for an `Option`, nothing for all others. Asking the type
/// itself, as serde's derive does, works for aliases and wrappers of `Option`, too.
pub(crate) fn when_missing<T: DeserializeOwned>() -> Option<T> {
    T::deserialize(Missing).ok()
}

fn split(bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let mut rest = bytes;
    let count = rmp::decode::read_map_len(&mut rest).ok()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let (name, after_name) = rmp::decode::read_str_from_slice(rest).ok()?;
        let (value, after_value) = after_name.split_at_checked(value_len_bytes(after_name)?)?;
        fields.push((name, value));
        rest = after_value;
    }
    rest.is_empty().then_some(fields)
}

fn value_len_bytes(bytes: &[u8]) -> Option<usize> {
    let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(bytes));
    IgnoredAny::deserialize(&mut deserializer).ok()?;
    usize::try_from(deserializer.position()).ok()
}

fn bad(message: impl Into<String>) -> Rejection {
    Rejection::new("bad_arguments", message)
}

struct Missing;

impl<'de> Deserializer<'de> for Missing {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::payload::encode;

    fn message(result: Result<impl Sized, Rejection>) -> String {
        let rejection = result.err().unwrap();
        assert_eq!(rejection.code, "bad_arguments");
        rejection.message
    }

    #[test]
    fn arguments_are_taken_by_name_in_any_order() {
        let bytes = encode(&json!({"to": "bob", "by": [1, {"a": 2}], "at": 7})).unwrap();
        let mut arguments = Arguments::read(&bytes).unwrap();
        assert_eq!(arguments.take::<u64>("at").unwrap(), 7);
        assert_eq!(arguments.take::<String>("to").unwrap(), "bob");
        assert_eq!(
            arguments.take::<serde_json::Value>("by").unwrap(),
            json!([1, {"a": 2}])
        );
        arguments.finish().unwrap();
    }

    #[test]
    fn an_optional_argument_may_be_missing_and_others_may_not() {
        let mut arguments = Arguments::read(&[0x80]).unwrap();
        assert_eq!(arguments.take::<Option<u64>>("by").unwrap(), None);
        assert_eq!(
            message(arguments.take::<u64>("by")),
            "argument `by` is missing"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_by_name() {
        let bytes = encode(&json!({"by": "one"})).unwrap();
        let mut arguments = Arguments::read(&bytes).unwrap();
        let message = message(arguments.take::<u64>("by"));
        assert!(message.starts_with("argument `by`: "), "{message}");
    }

    #[test]
    fn unknown_and_repeated_arguments_are_refused_by_name() {
        let bytes = encode(&json!({"by": 1, "too": 2})).unwrap();
        let mut arguments = Arguments::read(&bytes).unwrap();
        arguments.take::<u64>("by").unwrap();
        assert_eq!(
            message(arguments.finish()),
            "argument `too` is unknown; the method takes `by`"
        );
        let twice = [0x82, 0xa1, b'x', 1, 0xa1, b'x', 2];
        let mut arguments = Arguments::read(&twice).unwrap();
        arguments.take::<u64>("x").unwrap();
        assert_eq!(message(arguments.finish()), "argument `x` is given twice");
    }

    #[test]
    fn bytes_that_are_no_map_are_refused() {
        let not_maps: [&[u8]; 6] = [
            b"",
            &[0xc0],
            &[0x81],
            &[0x81, 1, 1],
            &[0x80, 0],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
        ];
        for bytes in not_maps {
            assert_eq!(
                message(Arguments::read(bytes)),
                "arguments are a MessagePack map of names",
                "{bytes:?}"
            );
        }
    }
}
