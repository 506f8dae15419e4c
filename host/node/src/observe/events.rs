use std::sync::Arc;

use entia_api::body::{EntityName, Event, EventBody};

use super::logs::first_number;
use super::ring::{Bounds, Filter, Item, Ring};
use crate::executor::now_ms;

/// The last things that happened on the node.
#[derive(Debug)]
pub(crate) struct Events(Arc<Ring<EventBody>>);

impl Events {
    /// Takes note of something.
    pub(crate) fn push(&self, mut event: Event) {
        match &mut event {
            Event::EntityQuarantined { reason: text, .. }
            | Event::DeadLetter { message: text, .. } => {
                text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            }
            _ => {}
        }
        self.0.push(vec![EventBody {
            id: 0,
            at_ms: now_ms(),
            event,
        }]);
    }

    pub(crate) fn ring(&self) -> &Arc<Ring<EventBody>> {
        &self.0
    }

    /// There is nothing to choose from.
    pub(crate) fn filter() -> Filter<EventBody> {
        Box::new(|_| true)
    }
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Ring::new(BOUNDS, first_number())))
    }
}

impl Item for EventBody {
    /// The entity; what is not about one is the node's.
    type Holder = Option<(String, String)>;

    fn number(&mut self, id: u64) {
        self.id = id;
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn holder(&self) -> Self::Holder {
        let entity = self.event.entity()?;
        Some((entity.kind.to_string(), entity.key.clone()))
    }

    fn bytes(&self) -> usize {
        let name = |entity: &EntityName| entity.kind.as_str().len() + entity.key.len();
        let texts = match &self.event {
            Event::EntityQuarantined { reason, .. } => reason.len(),
            Event::DeadLetter {
                target,
                method,
                code,
                message,
                ..
            } => name(target) + method.len() + code.len() + message.len(),
            _ => 0,
        };
        2 * self.event.entity().map_or(0, name) + texts
    }
}

/// Two thousand small events. Of one entity at least fifteen are kept, and of the node itself 160.
const BOUNDS: Bounds = Bounds {
    bytes_max: 1 << 20,
    holder_bytes_max: 64 << 10,
};
const TEXT_BYTES_MAX: usize = 2 << 10;
