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
    /// Where `from` has `own`, `to` has `theirs`: it was appended before.
    Nested {
        /// Who called.
        from: EntityId,
        /// What it appended after the call.
        own: u64,
        /// Who was called.
        to: EntityId,
        /// What is appended there.
        theirs: u64,
    },
    /// A timer that was set fires.
    Timer {
        /// Whose.
        entity: EntityId,
        /// What is appended then.
        serial: u64,
    },
}

impl Promise {
    /// Whom to ask whether it is kept by now.
    pub(super) fn parties(&self) -> impl Iterator<Item = &EntityId> {
        let parties = match self {
            Self::Message { from, to, .. } | Self::Nested { from, to, .. } => {
                [Some(from), Some(to)]
            }
            Self::Timer { entity, .. } => [Some(entity), None],
        };
        parties.into_iter().flatten()
    }
}

/// Everything that is stored at the end, by entity.
pub(super) type Listings = BTreeMap<EntityId, Vec<u64>>;

/// Compares promises with what is there. What was read of two entities was read at two times: what is wrong now may be right at
/// the next look.
pub(super) fn unkept<'a>(promises: &'a [Promise], listings: &Listings) -> Vec<&'a Promise> {
    let places = places(listings);
    let has = |serial: &u64| places.contains_key(serial);
    let unkept = |promise: &&Promise| match promise {
        Promise::Message { own, theirs, .. } => has(own) != has(theirs),
        Promise::Nested { own, theirs, .. } => has(own) && !has(theirs),
        Promise::Timer { serial, .. } => !has(serial),
    };
    promises.iter().filter(unkept).collect()
}

/// Messages from one entity to another arrive in their order.
pub(super) fn in_order(promises: &[Promise], listings: &Listings) -> Result<(), Violation> {
    let places = places(listings);
    let mut messages: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for promise in promises {
        if let Promise::Message {
            from,
            own,
            to,
            theirs,
        } = promise
            && let (Some(sent), Some(came)) = (places.get(own), places.get(theirs))
        {
            messages.entry((from, to)).or_default().push((sent, came));
        }
    }
    for ((from, to), mut pairs) in messages {
        pairs.sort_unstable();
        if let Some(wrong) = pairs.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
            let message = format!("messages of {from} to {to} are out of order: {wrong:?}");
            return Err(Violation::new("I8", message));
        }
    }
    Ok(())
}

/// What a promise that is not kept at the end breaks.
pub(super) fn broken(promise: &Promise, listings: &Listings) -> Violation {
    match promise {
        Promise::Message { own, .. } if !places(listings).contains_key(own) => Violation::new(
            "I15",
            format!("a message arrived whose sender has no memory of it: {promise:?}"),
        ),
        _ => Violation::new("I6", format!("not kept: {promise:?}")),
    }
}

fn places(listings: &Listings) -> BTreeMap<u64, usize> {
    let places = listings
        .values()
        .flat_map(|serials| serials.iter().enumerate());
    places.map(|(place, &serial)| (serial, place)).collect()
}
