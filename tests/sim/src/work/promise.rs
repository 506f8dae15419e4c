//! What has to be there at the end, since something else is.

use std::collections::BTreeMap;

use entia_protocol::EntityId;

use crate::violation::Violation;

/// What durable entities owe. Each is about serials that are appended at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Promise {
    /// `from` has `own` if and only if `to` has, or gets, `theirs`; and in the same order.
    Message {
        /// Who sends.
        from: EntityId,
        /// What it appended with it.
        own: u64,
        /// Who gets it.
        to: EntityId,
        /// What is appended there.
        theirs: u64,
    },
    /// Where `own` is, there `theirs` was appended before.
    Nested {
        /// What was appended after the call.
        own: u64,
        /// What was appended by the call.
        theirs: u64,
    },
    /// A timer that was set fires.
    Timer {
        /// What is appended then.
        serial: u64,
    },
}

/// Everything that is stored at the end, by entity.
pub(super) type Listings = BTreeMap<EntityId, Vec<u64>>;

/// Compares promises with what is there: what is not kept yet, or what cannot be.
pub(super) fn unkept<'a>(
    promises: &'a [Promise],
    listings: &Listings,
) -> Result<Vec<&'a Promise>, Violation> {
    let mut places = BTreeMap::new();
    for serials in listings.values() {
        for (position, &serial) in serials.iter().enumerate() {
            places.insert(serial, position);
        }
    }
    let mut unkept = Vec::new();
    let mut messages: BTreeMap<(&EntityId, &EntityId), Vec<(usize, usize)>> = BTreeMap::new();
    for promise in promises {
        match promise {
            Promise::Message {
                from,
                own,
                to,
                theirs,
            } => match (places.get(own), places.get(theirs)) {
                (Some(&own), Some(&theirs)) => {
                    messages.entry((from, to)).or_default().push((own, theirs));
                }
                (Some(_), None) => unkept.push(promise),
                (None, Some(_)) => {
                    let message =
                        format!("{to} has {theirs}, sent by {from} with {own}, which it has not");
                    return Err(Violation::new("I15", message));
                }
                (None, None) => {}
            },
            Promise::Nested { own, theirs } => {
                if places.contains_key(own) && !places.contains_key(theirs) {
                    let message = format!("{own} is there, and {theirs}, which was before it, is not");
                    return Err(Violation::new("I6", message));
                }
            }
            Promise::Timer { serial } => {
                if !places.contains_key(serial) {
                    unkept.push(promise);
                }
            }
        }
    }
    in_order(messages)?;
    Ok(unkept)
}

fn in_order(
    messages: BTreeMap<(&EntityId, &EntityId), Vec<(usize, usize)>>,
) -> Result<(), Violation> {
    for ((from, to), mut places) in messages {
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
            let message = format!("messages of {from} to {to} are out of order: {pair:?}");
            return Err(Violation::new("I8", message));
        }
    }
    Ok(())
}
