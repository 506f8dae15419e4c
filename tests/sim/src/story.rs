//! A run that is told: this cluster, and when this happens, then that. For the named scenarios.
//!
//! ```text
//!   let told = Story::new(1)
//!       .at(ms(3_000), FaultKind::Wish(Wish::Move(0, NodeId(2))))
//!       .when(applied(|command| matches!(command, Command::BeginHandoff { .. })))
//!       .then(kill(Who::Coordinator))
//!       .tell();
//!   assert!(told.back(told.struck(), shard) < ms(2_000));
//! ```
//! A story holds only if every rule of the simulator did, and everything that it waits for was seen: [`Story::tell`].

mod told;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::faults::{At, Fault, FaultKind};
use crate::observation::Observation;
use crate::plan::{Plan, nanos};
use crate::run::{Report, Simulation};
use crate::world::{CarriedOut, World};

pub use told::Told;
pub use words::{
    after, applied, aside, begins, bystander, completes, downs, isolate, kill, kill_for, ms,
    proposed, received, seconds, sent, started, within, worst,
};

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
    strikes: Strikes,
    /// What of the step's actions is not lost.
    pub(crate) carried_out: CarriedOut,
    fired: bool,
}

/// What strikes, when it has been seen.
type Strikes = Box<dyn FnMut(&World, &Observation<'_>) -> Vec<FaultKind> + Send>;

impl Story {
    /// A calm cluster of five, busy, whose workers have no bad days. Nobody waits for somebody who waits.
    pub fn new(seed: u64) -> Self {
        let mut plan = Plan::calm(seed);
        plan.work.chain_percent = 0;
        plan.work.moods = false;
        plan.work.entities = 40;
        plan.work.clients = 20;
        plan.work.think = Duration::from_millis(60);
        Self {
            plan,
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

    /// With something else changed.
    pub fn with(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
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
            strikes: Box::new(|_, _| Vec::new()),
            carried_out: CarriedOut::All,
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
        let mut simulation = Simulation::new(self.plan)
            .with_triggers(self.triggers)
            .chronicled();
        if self.traced {
            simulation = simulation.traced_from(0);
        }
        simulation.run()
    }

    /// Lets it happen, and tells what did.
    ///
    /// # Panics
    /// If a rule was broken, or something never happened that the story waits for. `ENTIA_STORY=seed` prints that seed's trace.
    pub fn tell(mut self) -> Told {
        let seed = self.plan.seed;
        let wanted = std::env::var("ENTIA_STORY").ok();
        self.traced |= wanted.is_some_and(|wanted| wanted.parse() == Ok(seed));
        let plan = self.plan.clone();
        let report = self.run();
        for line in &report.lines {
            println!("{line}");
        }
        if let Some(violation) = &report.violation {
            let at = report.true_time as f64 / 1e9;
            panic!("seed {seed}, at {at:.6} s: {violation}");
        }
        let silent = &report.silent;
        assert!(
            silent.is_empty(),
            "seed {seed}: the triggers {silent:?} never saw what they wait for"
        );
        Told::new(plan, report)
    }
}

impl When {
    /// ... then this strikes, after what the node does in that step is done.
    pub fn then(self, kind: FaultKind) -> Story {
        self.then_all(vec![kind])
    }

    /// ... then these do.
    pub fn then_all(self, kinds: Vec<FaultKind>) -> Story {
        self.end(move |_, _| kinds.clone(), CarriedOut::All)
    }

    /// ... then what this makes of it does.
    pub fn then_as(
        self,
        mut strike: impl FnMut(&World, &Observation<'_>) -> FaultKind + Send + 'static,
    ) -> Story {
        self.end(
            move |world, seen| vec![strike(world, seen)],
            CarriedOut::All,
        )
    }

    /// ... then this strikes before anything that the node wants done in that step: its actions are lost.
    pub fn instead(self, kind: FaultKind) -> Story {
        self.end(move |_, _| vec![kind], CarriedOut::Nothing)
    }

    /// ... then this strikes when what the node sends in that step is sent: the rest of its actions is lost.
    pub fn then_at_once(
        self,
        mut strike: impl FnMut(&World, &Observation<'_>) -> FaultKind + Send + 'static,
    ) -> Story {
        self.end(
            move |world, seen| vec![strike(world, seen)],
            CarriedOut::Sends,
        )
    }

    /// ... which has to happen in this story. Nothing strikes.
    pub fn is_seen(self) -> Story {
        self.then_all(Vec::new())
    }

    fn end(
        self,
        strikes: impl FnMut(&World, &Observation<'_>) -> Vec<FaultKind> + Send + 'static,
        carried_out: CarriedOut,
    ) -> Story {
        let mut story = self.story;
        story.triggers.push(Trigger {
            strikes: Box::new(strikes),
            carried_out,
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
        Some((self.strikes)(world, seen))
    }

    /// Whether it has seen what it waits for.
    pub(crate) fn fired(&self) -> bool {
        self.fired
    }
}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trigger(fired: {})", self.fired)
    }
}
