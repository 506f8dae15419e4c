//! A run that is told: this cluster, and when this happens, then that. For the named scenarios.
//!
//! ```text
//!   Story::new(1).nodes(5)
//!       .at(ms(1_000), FaultKind::Wish(Wish::Move(0, NodeId(2))))
//!       .when(applied(|command| matches!(command, Command::BeginHandoff { .. })))
//!       .then(kill(Who::Coordinator))
//!       .run()
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use entia_protocol::cluster::Message;
use entia_protocol::control::Command;

use crate::faults::{At, Fault, FaultKind, Restart, Who};
use crate::node::Action;
use crate::observation::{Cause, Observation};
use crate::plan::{Plan, nanos};
use crate::run::{Report, Simulation};
use crate::world::World;

/// Looks at each step until it sees what it waits for.
pub type Predicate = Box<dyn FnMut(&World, &Observation<'_>) -> bool + Send>;

/// A story.
#[derive(Debug)]
pub struct Story {
    /// What it is told about. May be changed freely.
    pub plan: Plan,
    triggers: Vec<Trigger>,
    traced: bool,
}

/// The first half of a sentence.
#[derive(Debug)]
pub struct When {
    story: Story,
    predicate: Trigger,
}

/// Faults that strike once, when something is seen.
pub struct Trigger {
    predicate: Predicate,
    kinds: Vec<FaultKind>,
    /// The step's actions are lost.
    pub(crate) instead: bool,
    fired: bool,
}

impl Story {
    /// A calm cluster of five.
    pub fn new(seed: u64) -> Self {
        Self {
            plan: Plan::calm(seed),
            triggers: Vec::new(),
            traced: false,
        }
    }

    /// With so many nodes.
    pub fn nodes(mut self, nodes: u64) -> Self {
        self.plan.nodes = nodes;
        self
    }

    /// So long, and then so long without faults.
    pub fn lasting(mut self, duration: Duration, settle: Duration) -> Self {
        self.plan.duration = duration;
        self.plan.settle = settle;
        self
    }

    /// With other settings.
    pub fn tuned(mut self, change: impl FnOnce(&mut entia_protocol::cluster::Settings)) -> Self {
        change(Arc::make_mut(&mut self.plan.settings));
        self
    }

    /// At that time, this.
    pub fn at(mut self, time: Duration, kind: FaultKind) -> Self {
        let at = At::Time(nanos(time));
        self.plan.faults.push(Fault { at, kind });
        self
    }

    /// When this is seen first ...
    pub fn when(
        self,
        predicate: impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static,
    ) -> When {
        let predicate = Trigger {
            predicate: Box::new(predicate),
            kinds: Vec::new(),
            instead: false,
            fired: false,
        };
        When {
            story: self,
            predicate,
        }
    }

    /// Writes down what happens.
    pub fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// Lets it happen.
    pub fn run(self) -> Report {
        let mut simulation = Simulation::new(self.plan).with_triggers(self.triggers);
        if self.traced {
            simulation = simulation.traced_from(0);
        }
        simulation.run()
    }
}

impl When {
    /// ... then this strikes, after what the node does in that step is done.
    pub fn then(self, kind: FaultKind) -> Story {
        self.end(vec![kind], false)
    }

    /// ... then these do.
    pub fn then_all(self, kinds: Vec<FaultKind>) -> Story {
        self.end(kinds, false)
    }

    /// ... then this strikes before anything that the node wants done in that step: its actions are lost.
    pub fn instead(self, kind: FaultKind) -> Story {
        self.end(vec![kind], true)
    }

    fn end(self, kinds: Vec<FaultKind>, instead: bool) -> Story {
        let mut story = self.story;
        story.triggers.push(Trigger {
            kinds,
            instead,
            ..self.predicate
        });
        story
    }
}

impl Trigger {
    /// What strikes because of this step.
    pub(crate) fn look(&mut self, world: &World, seen: &Observation<'_>) -> Option<Vec<FaultKind>> {
        if self.fired || !(self.predicate)(world, seen) {
            return None;
        }
        self.fired = true;
        Some(self.kinds.clone())
    }
}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trigger({:?}, fired: {})", self.kinds, self.fired)
    }
}

/// The coordinator applies an entry with such a command.
pub fn applied(
    mut such: impl FnMut(&Command) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |world, seen| match seen.cause {
        Cause::Applied(entry) => world.log.leader == Some(seen.node) && such(&entry.command),
        _ => false,
    }
}

/// Somebody sends such a message.
pub fn sent(
    mut such: impl FnMut(&Message) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |_, seen| {
        seen.actions.iter().any(|action| match action {
            Action::Send { message, .. } => such(message),
            _ => false,
        })
    }
}

/// Somebody receives such a message.
pub fn received(
    mut such: impl FnMut(&Message) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |_, seen| match seen.cause {
        Cause::Message { message, .. } => such(message),
        _ => false,
    }
}

/// A process is killed, and is back half a second later.
pub fn kill(who: Who) -> FaultKind {
    FaultKind::Crash {
        who,
        down: Duration::from_millis(500),
        restart: Restart::Process,
    }
}
