//! Carries out the calls that turns make, and refuses those that would wait for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use entia_protocol::{CallError, Caller, EntityId, Envelope, Subject};
use entia_wasm::{Answering, Calls, GuestCall};

use super::Shared;
use super::cell::Cell;
use super::delivery::{self, Answer};
use super::turn::unknown_method;

/// The calls of one turn.
pub(super) struct TurnCalls {
    pub(super) shared: Arc<Shared>,
    pub(super) cell: Arc<Cell>,
    /// The turn is a query: so must be what it calls.
    pub(super) query: bool,
    /// Who waits for the turn, outermost first.
    pub(super) chain: Vec<EntityId>,
}

impl Calls for TurnCalls {
    fn call(&self, call: GuestCall) -> Answering {
        let (shared, cell) = (Arc::clone(&self.shared), Arc::clone(&self.cell));
        let mut chain = self.chain.clone();
        chain.push(cell.id.clone());
        let query = self.query;
        Box::pin(async move { carry_out(shared, cell, query, chain, call).await })
    }
}

async fn carry_out(
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    query: bool,
    chain: Vec<EntityId>,
    call: GuestCall,
) -> Answer {
    // A call tells of the entity's state, so it leaves as answers do: after all that was committed before is on disk.
    let (reply, settled) = delivery::uncounted_reply();
    cell.answer(reply, Ok(Default::default()));
    delivery::received(settled).await?;

    let kind = shared.catalog.find(call.target.kind())?;
    let version = kind.current();
    let Some(method) = version.record.description.method(&call.method) else {
        return Err(unknown_method(&version, &call.method));
    };
    if query && !method.query {
        return Err(CallError::InQuery {
            kind: kind.name(),
            method: call.method,
        });
    }
    let bytes_max = version.record.limits.payload_bytes_max;
    if call.arguments.0.len() as u64 > bytes_max {
        let subject = Subject::Arguments;
        return Err(CallError::TooLarge { subject, bytes_max });
    }
    if chain.len() > CHAIN_MAX {
        return Err(CallError::TooDeep {
            chain_max: CHAIN_MAX,
        });
    }
    let waiting = GivesUp(shared.waits.begin(&cell.id, &call.target)?);
    let left = call.deadline.saturating_duration_since(Instant::now());
    let envelope = Envelope {
        entity: call.target,
        method: call.method,
        arguments: call.arguments,
        caller: Caller::Entity(cell.id.clone()),
        key: call.key,
        attempt: 1,
        deadline_left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        chain,
    };
    let wait = Arc::clone(&waiting.0);
    let ticket = shared.submit_nested(&kind, envelope, call.deadline, wait)?;
    ticket.answer().await
}

/// Entities that may wait for each other, each for the next. Each of them holds a stack and its instance, and knows all
/// before it.
const CHAIN_MAX: usize = 100;

/// Who waits for whom. An entity waits for one other at a time, so following the chain from any entity takes one look each
/// and ends, or comes back: the wait that would close such a circle is refused.
#[derive(Default)]
pub(super) struct Waits(Arc<Mutex<Edges>>);

#[derive(Default)]
struct Edges {
    next: u64,
    /// Whom each waits for, and the number of the wait.
    of: HashMap<EntityId, (EntityId, u64)>,
}

/// An entity waits for another until [`Waiting::release`]: when the answer is sent, not when it is read, since the one that
/// answers may call back by then. Also when the last of these is gone.
pub(super) struct Waiting {
    waits: Arc<Mutex<Edges>>,
    who: EntityId,
    number: u64,
}

impl Waits {
    /// Lets `who` wait for `whom`, unless that waits for `who` already, through others or not.
    pub(super) fn begin(&self, who: &EntityId, whom: &EntityId) -> Result<Arc<Waiting>, CallError> {
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chain = vec![who.clone(), whom.clone()];
        let mut last = whom;
        while last != who {
            match edges.of.get(last) {
                None => {
                    let number = edges.next;
                    edges.next += 1;
                    edges.of.insert(who.clone(), (whom.clone(), number));
                    return Ok(Arc::new(Waiting {
                        waits: Arc::clone(&self.0),
                        who: who.clone(),
                        number,
                    }));
                }
                Some((next, _)) => last = next,
            }
            chain.push(last.clone());
        }
        Err(CallError::Deadlock {
            chain,
            may_have_run: false,
        })
    }
}

impl Waiting {
    /// The wait is over. A later wait of the same entity is left alone.
    pub(super) fn release(&self) {
        let mut edges = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if edges
            .of
            .get(&self.who)
            .is_some_and(|(_, number)| *number == self.number)
        {
            edges.of.remove(&self.who);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.release();
    }
}

/// The caller's side of a wait: over also when the caller gives up.
struct GivesUp(Arc<Waiting>);

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(key: &str) -> EntityId {
        format!("account/{key}").parse().unwrap()
    }

    fn chain(error: CallError) -> String {
        match error {
            CallError::Deadlock { chain, .. } => {
                let keys: Vec<_> = chain.iter().map(EntityId::key).collect();
                keys.join(" ")
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_entity_cannot_wait_for_itself() {
        let error = Waits::default()
            .begin(&entity("a"), &entity("a"))
            .err()
            .unwrap();
        assert_eq!(chain(error), "a a");
    }

    #[test]
    fn the_wait_that_closes_a_circle_is_refused_with_the_circle() {
        let waits = Waits::default();
        let _ab = waits.begin(&entity("a"), &entity("b")).unwrap();
        let bc = waits.begin(&entity("b"), &entity("c")).unwrap();
        let error = waits.begin(&entity("c"), &entity("a")).err().unwrap();
        assert_eq!(chain(error), "c a b c");
        bc.release();
        waits
            .begin(&entity("c"), &entity("a"))
            .expect("b no longer waits for c");
    }

    #[test]
    fn a_wait_that_is_over_does_not_end_the_next_one() {
        let waits = Waits::default();
        let first = waits.begin(&entity("a"), &entity("b")).unwrap();
        first.release();
        waits
            .begin(&entity("b"), &entity("a"))
            .expect("b has answered, and may call back")
            .release();
        let _second = waits.begin(&entity("a"), &entity("b")).unwrap();
        drop(first);
        let error = waits.begin(&entity("b"), &entity("a")).err().unwrap();
        assert_eq!(chain(error), "b a b");
    }

    #[test]
    fn many_may_wait_for_one() {
        let waits = Waits::default();
        let _ac = waits.begin(&entity("a"), &entity("c")).unwrap();
        let _bc = waits.begin(&entity("b"), &entity("c")).unwrap();
        let _cd = waits.begin(&entity("c"), &entity("d")).unwrap();
        let error = waits.begin(&entity("d"), &entity("b")).err().unwrap();
        assert_eq!(chain(error), "d b c d");
    }
}
