//! What is wrong with arguments, in words that name the argument.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

/// The validator's complaint, short, and by the argument's name.
pub(super) fn complaint(method: &str, known: &[&str], error: &ValidationError<'_>) -> String {
    let path = error.instance_path().as_str();
    if path.is_empty()
        && let ValidationErrorKind::Required { property } = error.kind()
    {
        let property = property.as_str().unwrap_or_default();
        return format!("argument `{property}` is missing; {}", takes(method, known));
    }
    format!("{}{}", place(path), reason(error))
}

/// What the method takes.
pub(super) fn takes(method: &str, known: &[&str]) -> String {
    if known.is_empty() {
        format!("{method} takes no arguments")
    } else {
        format!("{method} takes {}", known.join(", "))
    }
}

/// A value's place by its JSON pointer: the argument, and the way on from there.
pub(super) fn place(pointer: &str) -> String {
    let Some(path) = pointer.strip_prefix('/') else {
        return String::new();
    };
    match path.split_once('/') {
        Some((argument, rest)) => format!("argument `{argument}`, at `{}`: ", shortened(rest)),
        None => format!("argument `{path}`: "),
    }
}

/// Cut to what people read.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The caller knows large values; they are named, not repeated.
fn reason(error: &ValidationError<'_>) -> String {
    let subject = match error.instance().as_ref() {
        Value::Object(_) => "the object",
        Value::Array(_) => "the array",
        Value::String(text) if text.len() > CHARS_MAX => "the text",
        _ => return shortened(&error.to_string()),
    };
    shortened(&error.masked_with(subject).to_string())
}

const CHARS_MAX: usize = 200;
