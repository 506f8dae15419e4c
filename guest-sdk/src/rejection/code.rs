//! Finds the code of an error: the name of its enum variant.
//!
//! Rust has no reflection, but serde tells every serializer the variant's name. This one listens for it and stops.

use std::fmt;

use serde::Serialize;
use serde::ser::{Error, Impossible, Serializer};

/// The code of an error that is not an enum.
const OTHER: &str = "rejected";

/// The error's variant in snake case, or `rejected`.
pub(crate) fn of<E: Serialize>(error: &E) -> String {
    match error.serialize(Listener) {
        Err(Heard(Some(variant))) => snake_case(variant),
        Err(Heard(None)) | Ok(()) => OTHER.to_owned(),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut characters = name.chars().peekable();
    let mut before: Option<char> = None;
    while let Some(character) = characters.next() {
        let after_lower = before.is_some_and(|c| c.is_lowercase() || c.is_ascii_digit());
        let ends_acronym = before.is_some_and(char::is_uppercase)
            && characters.peek().is_some_and(|next| next.is_lowercase());
        if character.is_uppercase() && (after_lower || ends_acronym) {
            snake.push('_');
        }
        before = Some(character);
        match character {
            '-' | ' ' => snake.push('_'),
            _ => snake.extend(character.to_lowercase()),
        }
    }
    snake
}

/// What was heard until the serializer stopped: a variant, or that the error is not an enum.
#[derive(Debug)]
struct Heard(Option<&'static str>);

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.unwrap_or(OTHER))
    }
}

impl std::error::Error for Heard {}

impl Error for Heard {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

struct Listener;

type Nothing = Impossible<(), Heard>;

macro_rules! not_an_enum {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, Heard> {
            Err(Heard(None))
        })*
    };
}

impl Serializer for Listener {
    type Ok = ();
    type Error = Heard;
    type SerializeSeq = Nothing;
    type SerializeTuple = Nothing;
    type SerializeTupleStruct = Nothing;
    type SerializeTupleVariant = Nothing;
    type SerializeMap = Nothing;
    type SerializeStruct = Nothing;
    type SerializeStructVariant = Nothing;

    not_an_enum! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Nothing;
        serialize_tuple(usize) -> Nothing;
        serialize_tuple_struct(&'static str, usize) -> Nothing;
        serialize_map(Option<usize>) -> Nothing;
        serialize_struct(&'static str, usize) -> Nothing;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Heard> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Heard> {
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Heard> {
        Err(Heard(Some(variant)))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Result<(), Heard> {
        Err(Heard(Some(variant)))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Nothing, Heard> {
        Err(Heard(Some(variant)))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Nothing, Heard> {
        Err(Heard(Some(variant)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    enum Refusal {
        Overdraft,
        NotFound(u8),
        TwoNumbers(u8, u8),
        TooLarge {
            bytes: u64,
        },
        HTTPError,
        #[serde(rename = "already_snake")]
        Renamed,
    }

    #[derive(Serialize)]
    struct Wrapper(Refusal);

    #[test]
    fn the_code_of_an_enum_is_its_variant_in_snake_case() {
        assert_eq!(of(&Refusal::Overdraft), "overdraft");
        assert_eq!(of(&Refusal::NotFound(1)), "not_found");
        assert_eq!(of(&Refusal::TwoNumbers(1, 2)), "two_numbers");
        assert_eq!(of(&Refusal::TooLarge { bytes: 1 }), "too_large");
        assert_eq!(of(&Refusal::HTTPError), "http_error");
        assert_eq!(of(&Refusal::Renamed), "already_snake");
        assert_eq!(of(&Wrapper(Refusal::Overdraft)), "overdraft");
    }

    #[test]
    fn the_code_of_anything_else_is_rejected() {
        assert_eq!(of(&"no money"), "rejected");
        assert_eq!(of(&vec![1, 2]), "rejected");
        assert_eq!(of(&()), "rejected");
    }
}
