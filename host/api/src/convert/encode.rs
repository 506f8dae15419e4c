//! Validated arguments to MessagePack.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entia_protocol::Payload;
use rmp::encode::{self, ByteBuf};
use serde_json::{Map, Number, Value};

use crate::convert::complaint::{place, shortened};
use crate::convert::shape::{Format, NodeId, Shapes};

/// Writes a named map. `json` is the text that `arguments` was read from; it is looked at only to tell integers that are
/// too large from floats.
pub(super) fn encode(shapes: &Shapes, arguments: &Value, json: &[u8]) -> Result<Payload, String> {
    let mut encoder = Encoder {
        shapes,
        json,
        oversize: OnceCell::new(),
        applied: Vec::new(),
        out: ByteBuf::with_capacity(json.len()),
    };
    shapes.applied(Shapes::ROOT, arguments, &mut encoder.applied);
    let all = 0..encoder.applied.len();
    encoder
        .value(all, arguments)
        .map_err(|refusal| format!("{}{}", place(&refusal.pointer), refusal.message))?;
    Ok(Payload(encoder.out.into_vec()))
}

struct Encoder<'a> {
    shapes: &'a Shapes,
    json: &'a [u8],
    /// The integers of the text that are too large to be read as such, by the bits of the floats that they became; collected
    /// when the first value is met that could be one.
    oversize: OnceCell<HashMap<u64, String>>,
    /// A stack: the schemas that apply to the value being written, above those of the values around it.
    applied: Vec<NodeId>,
    out: ByteBuf,
}

/// Why a value cannot be written, with the way to it.
struct Refusal {
    pointer: String,
    message: String,
}

impl Encoder<'_> {
    fn value(&mut self, applied: Range<usize>, value: &Value) -> Result<(), Refusal> {
        match value {
            Value::Null => infallible(encode::write_nil(&mut self.out)),
            Value::Bool(value) => infallible(encode::write_bool(&mut self.out, *value)),
            Value::Number(number) => self.number(applied, number)?,
            Value::String(text) => self.text(applied, text)?,
            Value::Array(array) => self.array(applied, array)?,
            Value::Object(object) => self.object(applied, object)?,
        }
        Ok(())
    }

    fn array(&mut self, applied: Range<usize>, array: &[Value]) -> Result<(), Refusal> {
        infallible(encode::write_array_len(&mut self.out, length(array.len())?));
        for (index, value) in array.iter().enumerate() {
            let inner = self.inner(applied.clone(), value, |shapes, id| {
                shapes.nodes[id].element(index)
            });
            self.value(inner.clone(), value)
                .map_err(|refusal| refusal.within(&index.to_string()))?;
            self.applied.truncate(inner.start);
        }
        Ok(())
    }

    /// In the order of the keys, whatever order the map keeps: equal arguments have equal bytes.
    fn object(
        &mut self,
        applied: Range<usize>,
        object: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        infallible(encode::write_map_len(&mut self.out, length(object.len())?));
        if object.keys().is_sorted() {
            return object
                .iter()
                .try_for_each(|(name, value)| self.entry(applied.clone(), name, value));
        }
        let mut entries: Vec<_> = object.iter().collect();
        entries.sort_unstable_by_key(|(name, _)| *name);
        entries
            .into_iter()
            .try_for_each(|(name, value)| self.entry(applied.clone(), name, value))
    }

    fn entry(&mut self, applied: Range<usize>, name: &str, value: &Value) -> Result<(), Refusal> {
        length(name.len())?;
        infallible(encode::write_str(&mut self.out, name));
        let inner = self.inner(applied, value, |shapes, id| shapes.nodes[id].property(name));
        self.value(inner.clone(), value)
            .map_err(|refusal| refusal.within(name))?;
        self.applied.truncate(inner.start);
        Ok(())
    }

    /// Puts the schemas of a value inside on the stack.
    fn inner(
        &mut self,
        outer: Range<usize>,
        value: &Value,
        next: impl Fn(&Shapes, NodeId) -> Option<NodeId>,
    ) -> Range<usize> {
        let start = self.applied.len();
        for index in outer {
            if let Some(id) = next(self.shapes, self.applied[index]) {
                self.shapes.applied(id, value, &mut self.applied);
            }
        }
        start..self.applied.len()
    }

    fn text(&mut self, applied: Range<usize>, text: &str) -> Result<(), Refusal> {
        if !self.any(applied, |shapes, id| shapes.nodes[id].bytes) {
            length(text.len())?;
            infallible(encode::write_str(&mut self.out, text));
            return Ok(());
        }
        let bytes = STANDARD.decode(text).map_err(|error| {
            Refusal::new(format!(
                "it is not base64 ({error}); bytes are written as base64"
            ))
        })?;
        length(bytes.len())?;
        infallible(encode::write_bin(&mut self.out, &bytes));
        Ok(())
    }

    fn number(&mut self, applied: Range<usize>, number: &Number) -> Result<(), Refusal> {
        let integer = self.any(applied.clone(), |shapes, id| {
            shapes.nodes[id].types.integer()
        });
        if let Some(value) = number.as_i128() {
            self.check_range(applied.clone(), value)?;
            let float = !integer && self.any(applied, |shapes, id| shapes.nodes[id].types.float());
            match (float, number.as_i64(), number.as_u64()) {
                (true, ..) => self.float(value as f64),
                (false, _, Some(value)) => infallible(encode::write_uint(&mut self.out, value)),
                (false, Some(value), _) => infallible(encode::write_sint(&mut self.out, value)),
                (false, None, None) => return Err(Refusal::new(too_large(number))),
            }
            return Ok(());
        }
        let value = number.as_f64().unwrap_or(f64::NAN);
        if integer {
            return Err(Refusal::new(self.not_an_integer(number, value)));
        }
        let float = self.any(applied.clone(), |shapes, id| shapes.nodes[id].types.float());
        if !float && let Some(literal) = self.oversize_integer(value) {
            return Err(Refusal::new(too_large(literal)));
        }
        let single = |shapes: &Shapes, id: NodeId| shapes.nodes[id].format == Format::Float32;
        if value.abs() > f64::from(f32::MAX) && self.any(applied, single) {
            let message = format!("{number} is too large for a 32-bit float");
            return Err(Refusal::new(message));
        }
        self.float(value);
        Ok(())
    }

    fn float(&mut self, value: f64) {
        infallible(encode::write_f64(&mut self.out, value));
    }

    /// JSON Schema says nothing of an integer's width; the `format` does.
    fn check_range(&self, mut applied: Range<usize>, value: i128) -> Result<(), Refusal> {
        applied.try_for_each(
            |index| match self.shapes.nodes[self.applied[index]].format {
                Format::Integer(least, _) if value < least => Err(Refusal::new(format!(
                    "{value} is less than the minimum of {least}"
                ))),
                Format::Integer(_, most) if value > most => Err(Refusal::new(format!(
                    "{value} is greater than the maximum of {most}"
                ))),
                _ => Ok(()),
            },
        )
    }

    fn not_an_integer(&self, number: &Number, value: f64) -> String {
        match self.oversize_integer(value) {
            Some(literal) => too_large(literal),
            None => {
                format!("{number} is not an integer; write it without a fraction or exponent")
            }
        }
    }

    /// The integer literal that was too large to be read as one and became the float `value`.
    fn oversize_integer(&self, value: f64) -> Option<&String> {
        /// 2^63: whatever is smaller has been read as an integer if it was written as one.
        const SMALLEST: f64 = 9_223_372_036_854_775_808.0;
        if value.abs() < SMALLEST {
            return None;
        }
        self.oversize
            .get_or_init(|| oversize_integers(self.json))
            .get(&value.to_bits())
    }

    fn any(&self, mut applied: Range<usize>, is: impl Fn(&Shapes, NodeId) -> bool) -> bool {
        applied.any(|index| is(self.shapes, self.applied[index]))
    }
}

impl Refusal {
    fn new(message: String) -> Self {
        Self {
            pointer: String::new(),
            message,
        }
    }

    fn within(self, segment: &str) -> Self {
        Self {
            pointer: format!("/{}{}", segment.replace('/', "~1"), self.pointer),
            ..self
        }
    }
}

/// The integer literals that may be too large to be read as such, by the bits of their values as floats.
///
/// The text is valid JSON, so a digit or minus outside of a string begins a number.
fn oversize_integers(json: &[u8]) -> HashMap<u64, String> {
    let mut found = HashMap::new();
    let text = std::str::from_utf8(json).unwrap_or_default();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        rest = &rest[at..];
        if rest.starts_with('"') {
            rest = &rest[string_bytes(rest)..];
            continue;
        }
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        let (literal, after) = rest.split_at(end.unwrap_or(rest.len()));
        let integer = !literal.contains(['.', 'e', 'E']) && literal.len() > 18;
        if integer && let Ok(value) = literal.parse::<f64>() {
            found
                .entry(value.to_bits())
                .or_insert_with(|| shortened(literal));
        }
        rest = after;
    }
    found
}

/// The length of the JSON string that `text` begins with, quotes included.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

fn too_large(literal: &impl std::fmt::Display) -> String {
    format!(
        "{literal} is too large for an integer; they go from {} to {}",
        i64::MIN,
        u64::MAX
    )
}

/// MessagePack counts with 32 bits.
fn length(length: usize) -> Result<u32, Refusal> {
    u32::try_from(length).map_err(|_| Refusal::new("it is too long for MessagePack".to_owned()))
}

/// Writing into memory does not fail.
fn infallible<T, E: std::fmt::Debug>(written: Result<T, E>) {
    written.expect("a ByteBuf takes all that is written");
}
