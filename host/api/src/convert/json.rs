//! MessagePack to JSON, straight from bytes to text: a result may be large, and is looked at once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entia_protocol::{CallError, Payload};
use rmp::Marker;

use crate::convert::DEPTH_MAX;

/// Writes a call's result as JSON.
///
/// Bytes become base64, integers stay exact.
///
/// # Errors
/// [`CallError::BadResult`] for what JSON does not have: NaN, infinities, extension types, map keys and texts that are not
/// UTF-8 text; and for what is not one whole MessagePack value, at most [`DEPTH_MAX`] deep.
pub fn json_from_payload(payload: &Payload) -> Result<Vec<u8>, CallError> {
    let mut writer = Writer {
        rest: &payload.0,
        out: Vec::with_capacity(payload.0.len() + payload.0.len() / 2),
    };
    let written = writer.value(DEPTH_MAX).and_then(|()| writer.end());
    match written {
        Ok(()) => Ok(writer.out),
        Err(Refusal { place, message }) if place.is_empty() => {
            Err(CallError::BadResult { message })
        }
        Err(Refusal { place, message }) => Err(CallError::BadResult {
            message: format!("at `{}`: {message}", place.trim_start_matches('.')),
        }),
    }
}

struct Writer<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
}

/// Why a value has no JSON, with the way to it.
struct Refusal {
    place: String,
    message: String,
}

impl<'a> Writer<'a> {
    /// `levels` is how many more may follow.
    fn value(&mut self, levels: usize) -> Result<(), Refusal> {
        let marker = Marker::from_u8(self.take::<1>()?[0]);
        match marker {
            Marker::Null => self.out.extend_from_slice(b"null"),
            Marker::False => self.out.extend_from_slice(b"false"),
            Marker::True => self.out.extend_from_slice(b"true"),
            Marker::FixPos(value) => self.json(&value),
            Marker::FixNeg(value) => self.json(&value),
            Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => {
                let value = self.unsigned(marker)?;
                self.json(&value);
            }
            Marker::I8 => self.signed(|[byte]: [u8; 1]| i8::from_be_bytes([byte]).into())?,
            Marker::I16 => self.signed(|bytes: [u8; 2]| i16::from_be_bytes(bytes).into())?,
            Marker::I32 => self.signed(|bytes: [u8; 4]| i32::from_be_bytes(bytes).into())?,
            Marker::I64 => self.signed(|bytes: [u8; 8]| i64::from_be_bytes(bytes))?,
            Marker::F32 => {
                let value = f32::from_be_bytes(self.take()?);
                self.float(value.is_finite(), &value)?;
            }
            Marker::F64 => {
                let value = f64::from_be_bytes(self.take()?);
                self.float(value.is_finite(), &value)?;
            }
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let text = self.text(marker)?;
                self.json(text);
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => self.bytes(marker)?,
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                self.array(marker, levels)?;
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => self.map(marker, levels)?,
            _ => return Err(Refusal::new("an extension type has no JSON")),
        }
        Ok(())
    }

    fn array(&mut self, marker: Marker, levels: usize) -> Result<(), Refusal> {
        let levels = inner(levels)?;
        let length = self.length(marker)?;
        self.out.push(b'[');
        // The announced length is not believed: nothing is reserved, and each element takes at least a byte of input.
        for index in 0..length {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(levels)
                .map_err(|refusal| refusal.within(&format!("[{index}]")))?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, marker: Marker, levels: usize) -> Result<(), Refusal> {
        let levels = inner(levels)?;
        let length = self.length(marker)?;
        self.out.push(b'{');
        for index in 0..length {
            if index > 0 {
                self.out.push(b',');
            }
            let key = Marker::from_u8(self.take::<1>()?[0]);
            if !matches!(
                key,
                Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32
            ) {
                return Err(Refusal::new("a map's key is not text"));
            }
            let key = self.text(key)?;
            self.json(key);
            self.out.push(b':');
            self.value(levels)
                .map_err(|refusal| refusal.within_key(key))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn bytes(&mut self, marker: Marker) -> Result<(), Refusal> {
        let length = self.length(marker)?;
        let bytes = self.slice(length)?;
        let start = self.out.len() + 1;
        let encoded = base64::encoded_len(bytes.len(), true)
            .ok_or_else(|| Refusal::new("bytes are too long"))?;
        self.out.push(b'"');
        self.out.resize(start + encoded, b'=');
        STANDARD
            .encode_slice(bytes, &mut self.out[start..])
            .expect("the slice has the encoded length");
        self.out.push(b'"');
        Ok(())
    }

    fn text(&mut self, marker: Marker) -> Result<&'a str, Refusal> {
        let length = self.length(marker)?;
        let bytes = self.slice(length)?;
        std::str::from_utf8(bytes).map_err(|_| Refusal::new("a text is not UTF-8"))
    }

    fn float(&mut self, finite: bool, value: &impl serde::Serialize) -> Result<(), Refusal> {
        if !finite {
            return Err(Refusal::new("JSON has no NaN and no infinity"));
        }
        self.json(value);
        Ok(())
    }

    fn signed<const N: usize>(&mut self, value: impl Fn([u8; N]) -> i64) -> Result<(), Refusal> {
        let value = value(self.take()?);
        self.json(&value);
        Ok(())
    }

    /// A number's value by its marker.
    fn unsigned(&mut self, marker: Marker) -> Result<u64, Refusal> {
        Ok(match marker {
            Marker::U8 => u64::from(self.take::<1>()?[0]),
            Marker::U16 => u64::from(u16::from_be_bytes(self.take()?)),
            Marker::U32 => u64::from(u32::from_be_bytes(self.take()?)),
            _ => u64::from_be_bytes(self.take()?),
        })
    }

    /// How many bytes, elements or entries follow a marker.
    fn length(&mut self, marker: Marker) -> Result<usize, Refusal> {
        let length = match marker {
            Marker::FixStr(length) | Marker::FixArray(length) | Marker::FixMap(length) => {
                u64::from(length)
            }
            Marker::Str8 | Marker::Bin8 => self.unsigned(Marker::U8)?,
            Marker::Str16 | Marker::Bin16 | Marker::Array16 | Marker::Map16 => {
                self.unsigned(Marker::U16)?
            }
            _ => self.unsigned(Marker::U32)?,
        };
        usize::try_from(length).map_err(|_| cut_short())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn end(&self) -> Result<(), Refusal> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(Refusal::new(&format!("{bytes} bytes follow its end"))),
        }
    }

    fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.out, value)
            .expect("texts and finite numbers are always written into memory");
    }
}

impl Refusal {
    fn new(message: &str) -> Self {
        Self {
            place: String::new(),
            message: message.to_owned(),
        }
    }

    fn within(self, segment: &str) -> Self {
        Self {
            place: format!("{segment}{}", self.place),
            ..self
        }
    }

    fn within_key(self, key: &str) -> Self {
        let key: String = key.chars().take(KEY_CHARS_MAX).collect();
        self.within(&format!(".{key}"))
    }
}

fn inner(levels: usize) -> Result<usize, Refusal> {
    let too_deep = || Refusal::new(&format!("it nests deeper than {DEPTH_MAX} levels"));
    levels.checked_sub(1).ok_or_else(too_deep)
}

fn cut_short() -> Refusal {
    Refusal::new("its MessagePack is cut short")
}

/// Of a key in an error's text.
const KEY_CHARS_MAX: usize = 40;
