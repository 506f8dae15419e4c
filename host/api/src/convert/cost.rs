//! How much work a schema can make of a value.
//!
//! `anyOf: [A, A]` inside `A` doubles the work at each level of a value, so that a hundred bytes would keep the validator
//! busy for years. Schemas that refer to themselves are legitimate, so they are not refused: the work is counted first, as
//! if nothing could be decided early, up to a bound.

use serde_json::Value;

use crate::convert::shape::{Additional, NodeId, Shapes};

/// The most schemas that may apply to one value at one place.
pub(super) const IN_PLACE_MAX: u64 = 4_096;

/// Refuses a schema that applies itself to the same value again, which never ends, or too many to one value.
///
/// Every value that passes here can be walked by [`check`] and by [`Shapes::applied`].
pub(super) fn check_schema(shapes: &mut Shapes) -> Result<(), String> {
    let in_place = largest(shapes, in_place_edges)
        .ok_or("it refers to itself for the same value, so that checking would never end")?;
    if in_place > IN_PLACE_MAX {
        return Err(format!(
            "more than {IN_PLACE_MAX} schemas apply to one value; use fewer alternatives"
        ));
    }
    let visits = largest(shapes, all_edges);
    shapes.costly = visits.is_none_or(|visits| visits > VISITS_CHEAP);
    Ok(())
}

/// Refuses a value that the schema makes too much work of.
pub(super) fn check(shapes: &Shapes, value: &Value, json_bytes: usize) -> Result<(), String> {
    if !shapes.costly {
        return Ok(());
    }
    let mut left = VISITS_MAX + VISITS_PER_BYTE * json_bytes as u64;
    visit(shapes, Shapes::ROOT, value, STEPS_DEEP_MAX, &mut left).ok_or_else(|| {
        "the arguments are too deep or too many for the method's schema, which has alternatives in alternatives"
            .to_owned()
    })
}

fn visit(shapes: &Shapes, id: NodeId, value: &Value, deeper: usize, left: &mut u64) -> Option<()> {
    *left = left.checked_sub(1)?;
    let deeper = deeper.checked_sub(1)?;
    for next in in_place_edges(shapes, id) {
        visit(shapes, next, value, deeper, left)?;
    }
    let shape = &shapes.nodes[id];
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if let Some(next) = shape.property(name) {
                    visit(shapes, next, value, deeper, left)?;
                }
                visit_checks(shapes, id, value, deeper, left)?;
            }
        }
        Value::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                if let Some(next) = shape.element(index) {
                    visit(shapes, next, value, deeper, left)?;
                }
                visit_checks(shapes, id, value, deeper, left)?;
            }
        }
        _ => {}
    }
    Some(())
}

fn visit_checks(
    shapes: &Shapes,
    id: NodeId,
    value: &Value,
    deeper: usize,
    left: &mut u64,
) -> Option<()> {
    let checks = &shapes.nodes[id].element_checks;
    checks
        .iter()
        .try_for_each(|next| visit(shapes, *next, value, deeper, left))
}

/// The largest number of schemas met on the way from any one, each way counted; none if the ways have no end.
fn largest<'s, I: Iterator<Item = NodeId>>(
    shapes: &'s Shapes,
    edges: impl Fn(&'s Shapes, NodeId) -> I,
) -> Option<u64> {
    let mut counted = vec![Count::Unknown; shapes.nodes.len()];
    // Depth first with a stack of our own: a chain of references may be as long as the document.
    for start in 0..shapes.nodes.len() {
        let mut open = vec![start];
        while let Some(&id) = open.last() {
            match counted[id] {
                Count::Known(_) => {
                    open.pop();
                }
                Count::Unknown => {
                    counted[id] = Count::Open;
                    for next in edges(shapes, id) {
                        match counted[next] {
                            Count::Unknown => open.push(next),
                            Count::Open => return None,
                            Count::Known(_) => {}
                        }
                    }
                }
                Count::Open => {
                    let visits = edges(shapes, id).map(|next| match counted[next] {
                        Count::Known(visits) => visits,
                        Count::Unknown | Count::Open => 0,
                    });
                    counted[id] = Count::Known(visits.fold(1, u64::saturating_add));
                    open.pop();
                }
            }
        }
    }
    let known = counted.iter().map(|count| match count {
        Count::Known(visits) => *visits,
        Count::Unknown | Count::Open => 0,
    });
    known.max()
}

#[derive(Clone, Copy)]
enum Count {
    Unknown,
    /// On the way that is being followed.
    Open,
    Known(u64),
}

fn in_place_edges(shapes: &Shapes, id: NodeId) -> impl Iterator<Item = NodeId> {
    let shape = &shapes.nodes[id];
    let choices = shape.choices.iter().flatten();
    (shape.also.iter())
        .chain(choices)
        .chain(&shape.checks)
        .copied()
}

fn all_edges(shapes: &Shapes, id: NodeId) -> impl Iterator<Item = NodeId> {
    let shape = &shapes.nodes[id];
    let additional = match shape.additional {
        Additional::Open(id) => Some(id),
        Additional::Unsaid | Additional::Closed => None,
    };
    in_place_edges(shapes, id)
        .chain(shape.properties.values().copied())
        .chain(additional)
        .chain(shape.prefix.iter().copied())
        .chain(shape.items)
        .chain(shape.element_checks.iter().copied())
}

/// Schemas that meet so few of their kind cost no more than reading the value.
const VISITS_CHEAP: u64 = 64;
/// The longest way through schemas to a value within a value: what the validator needs of the thread's stack.
const STEPS_DEEP_MAX: usize = 400;
/// What any arguments may cost. A visit takes some ten nanoseconds.
const VISITS_MAX: u64 = 1_000_000;
/// What longer arguments may cost besides.
const VISITS_PER_BYTE: u64 = 16;
