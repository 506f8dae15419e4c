//! What of a schema matters for writing a value as MessagePack, as a graph: schemas may refer to themselves.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// The schemas of a document, by [`NodeId`]. The first is the root.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    pub(super) nodes: Vec<Shape>,
    /// Whether a small value may cost much work, so that each has to be looked at: see `cost`.
    pub(super) costly: bool,
}

pub(super) type NodeId = usize;

/// One schema.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) types: Types,
    pub(super) format: Format,
    /// A text here is base64, and bytes in MessagePack.
    pub(super) bytes: bool,
    /// `const` and `enum`: the values that there are.
    pub(super) fixed: Option<Vec<Value>>,
    pub(super) required: Vec<String>,
    pub(super) properties: BTreeMap<String, NodeId>,
    pub(super) additional: Additional,
    pub(super) prefix: Vec<NodeId>,
    pub(super) items: Option<NodeId>,
    /// `allOf` and `$ref`: these hold, too.
    pub(super) also: Vec<NodeId>,
    /// `anyOf` and `oneOf`: one of each list holds.
    pub(super) choices: Vec<Vec<NodeId>>,
    /// Schemas of the same value that only the validator looks at, such as `not`.
    pub(super) checks: Vec<NodeId>,
    /// Schemas of the value's elements that only the validator looks at, such as `contains`.
    pub(super) element_checks: Vec<NodeId>,
}

/// The `type` keyword. Without it, anything.
#[derive(Debug, Default, Clone)]
pub(super) struct Types(pub(super) Option<Vec<String>>);

/// What a number has to fit into.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Format {
    /// Whatever MessagePack has.
    #[default]
    Free,
    /// From the first to the second.
    Integer(i128, i128),
    /// A 32-bit float.
    Float32,
}

/// The `additionalProperties` keyword.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Additional {
    /// Nothing said. For arguments that means none.
    #[default]
    Unsaid,
    /// Refused by the schema.
    Closed,
    /// Allowed, by that schema.
    Open(NodeId),
}

impl Shapes {
    pub(super) const ROOT: NodeId = 0;

    /// Whether an object could be valid.
    pub(super) fn takes_an_object(&self) -> bool {
        let mut root = vec![Self::ROOT];
        root.extend(self.conjuncts(Self::ROOT));
        root.iter().all(|id| self.nodes[*id].types.has("object"))
    }

    /// The arguments' names, or none if the schema takes any.
    pub(super) fn arguments(&self) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        let mut open = vec![Self::ROOT];
        while let Some(id) = open.pop() {
            let shape = &self.nodes[id];
            if matches!(shape.additional, Additional::Open(_)) {
                return None;
            }
            names.extend(shape.properties.keys().map(String::as_str));
            open.extend(shape.also.iter().chain(shape.choices.iter().flatten()));
        }
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// Adds to `out` the schemas that say how `value` is written under the schema `id`: itself, what it refers to, and the
    /// first alternative that fits. The validator has accepted the value; if an alternative differs from an earlier one only
    /// deep inside, the earlier one is taken.
    pub(super) fn applied(&self, id: NodeId, value: &Value, out: &mut Vec<NodeId>) {
        out.push(id);
        let shape = &self.nodes[id];
        for also in &shape.also {
            self.applied(*also, value, out);
        }
        for choice in &shape.choices {
            let mut fitting = choice.iter();
            if let Some(chosen) = fitting.find(|id| self.fits(**id, value, FIT_LEVELS)) {
                self.applied(*chosen, value, out);
            }
        }
    }

    /// Whether `value` looks like the schema `id` says, down to so many levels.
    fn fits(&self, id: NodeId, value: &Value, levels: usize) -> bool {
        let shape = &self.nodes[id];
        shape.types.admit(value)
            && shape
                .fixed
                .as_ref()
                .is_none_or(|fixed| fixed.contains(value))
            && shape.also.iter().all(|id| self.fits(*id, value, levels))
            && (shape.choices.iter())
                .all(|choice| choice.iter().any(|id| self.fits(*id, value, levels)))
            && self.inside_fits(shape, value, levels)
    }

    fn inside_fits(&self, shape: &Shape, value: &Value, levels: usize) -> bool {
        let Some(levels) = levels.checked_sub(1) else {
            return true;
        };
        match value {
            Value::Object(object) => {
                shape.required.iter().all(|name| object.contains_key(name))
                    && object
                        .iter()
                        .all(|(name, value)| match shape.property(name) {
                            Some(id) => self.fits(id, value, levels),
                            None => shape.additional != Additional::Closed,
                        })
            }
            Value::Array(array) => array.iter().enumerate().all(|(index, value)| {
                shape
                    .element(index)
                    .is_none_or(|id| self.fits(id, value, levels))
            }),
            _ => true,
        }
    }

    fn conjuncts(&self, id: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            found.extend(&self.nodes[id].also);
            open.extend(&self.nodes[id].also);
        }
        found
    }
}

impl Shape {
    /// The schema of an object's property.
    pub(super) fn property(&self, name: &str) -> Option<NodeId> {
        let additional = match self.additional {
            Additional::Open(id) => Some(id),
            Additional::Unsaid | Additional::Closed => None,
        };
        self.properties.get(name).copied().or(additional)
    }

    /// The schema of an array's element.
    pub(super) fn element(&self, index: usize) -> Option<NodeId> {
        self.prefix.get(index).copied().or(self.items)
    }
}

impl Types {
    pub(super) fn has(&self, name: &str) -> bool {
        let named = |types: &Vec<String>| types.iter().any(|known| known == name);
        self.0.as_ref().is_none_or(named)
    }

    /// Integers are wanted, and nothing with a fraction.
    pub(super) fn integer(&self) -> bool {
        self.0.is_some() && self.has("integer") && !self.has("number")
    }

    /// Floats are wanted, and integers are written as floats.
    pub(super) fn float(&self) -> bool {
        self.0.is_some() && self.has("number") && !self.has("integer")
    }

    fn admit(&self, value: &Value) -> bool {
        match value {
            Value::Null => self.has("null"),
            Value::Bool(_) => self.has("boolean"),
            Value::Number(number) => {
                self.has("number") || (self.has("integer") && !Number::is_f64(number))
            }
            Value::String(_) => self.has("string"),
            Value::Array(_) => self.has("array"),
            Value::Object(_) => self.has("object"),
        }
    }
}

/// Deep enough for the ways in which people tell variants apart: a key, a tag beside it, or the types in a tuple.
const FIT_LEVELS: usize = 2;
