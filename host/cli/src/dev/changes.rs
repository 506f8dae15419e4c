use std::fmt;

use entia_api::body::{KindBody, MethodBody};
use serde::Serialize;

use crate::kinds::signature;

/// What a new version means for callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(crate) enum Change {
    /// A method that is there, of a kind that was not.
    Method { method: String },
    /// A method that was not there before.
    New { method: String },
    /// A method that is gone.
    Gone { method: String },
    /// A method that takes or answers something else.
    Other { was: String, method: String },
    /// A method whose signature reads as before, while the types behind it do not.
    Types { method: String },
}

/// The changes from one version to the next, in the author's order; without one before, all methods.
pub(crate) fn between(before: Option<&KindBody>, now: &KindBody) -> Vec<Change> {
    let Some(before) = before else {
        let methods = now.methods.iter().map(signature);
        return methods.map(|method| Change::Method { method }).collect();
    };
    let mut changes: Vec<_> = (now.methods.iter())
        .filter_map(|method| change(find(before, &method.name), method))
        .collect();
    let gone = before.methods.iter();
    let gone = gone.filter(|method| find(now, &method.name).is_none());
    changes.extend(gone.map(|method| Change::Gone {
        method: signature(method),
    }));
    changes
}

/// The first method that was not there before.
pub(crate) fn added<'a>(before: &KindBody, now: &'a KindBody) -> Option<&'a MethodBody> {
    let mut methods = now.methods.iter();
    methods.find(|method| find(before, &method.name).is_none())
}

fn change(before: Option<&MethodBody>, now: &MethodBody) -> Option<Change> {
    let method = signature(now);
    let Some(before) = before else {
        return Some(Change::New { method });
    };
    let was = signature(before);
    if was != method {
        return Some(Change::Other { was, method });
    }
    let types = |method: &MethodBody| {
        let arguments = method.arguments.clone();
        (arguments, method.result.clone(), method.rejection.clone())
    };
    (types(before) != types(now)).then_some(Change::Types { method })
}

fn find<'a>(kind: &'a KindBody, name: &str) -> Option<&'a MethodBody> {
    kind.methods.iter().find(|method| method.name == name)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method { method } => write!(f, "{method}"),
            Self::New { method } => write!(f, "new: {method}"),
            Self::Gone { method } => write!(f, "gone: {method}"),
            Self::Other { was, method } => write!(f, "now: {method}, was: {was}"),
            Self::Types { method } => write!(f, "other types behind: {method}"),
        }
    }
}
