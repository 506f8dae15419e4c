//! A run, from a plan to a report.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use entia_protocol::cluster::NodeId;
use entia_protocol::{CallError, Payload};

use crate::chronicle::Chronicle;
use crate::counters::Counters;
use crate::faults::FaultKind;
use crate::invariants::Invariants;
use crate::node::Ticket;
use crate::observation::Observation;
use crate::plan::Plan;
use crate::story::Trigger;
use crate::trace::Trace;
use crate::violation::Violation;
use crate::work::Workload;
use crate::world::{CarriedOut, Watch, World};

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// The plan's.
    pub seed: u64,
    /// The first rule that was broken; the run ended there.
    pub violation: Option<Violation>,
    /// The true time at which it ended.
    pub true_time: u64,
    /// The inputs that were handled.
    pub steps: u64,
    /// A hash over everything that happened: two runs of one plan have the same.
    pub trace_hash: u64,
    /// What happened, in words, if somebody wanted them.
    pub lines: Vec<String>,
    /// What happened how often.
    pub counters: Counters,
    /// Answers that clients got.
    pub answers: u64,
    /// Those that were no errors.
    pub answers_ok: u64,
    /// The longest time without an answer that is no error, after the first one, in nanoseconds.
    pub longest_gap: u64,
    /// What happened, if it was to be written down.
    pub chronicle: Chronicle,
    /// The triggers that never saw what they waited for, by their number.
    pub silent: Vec<usize>,
}

/// Runs a plan.
pub fn run(plan: Plan) -> Report {
    Simulation::new(plan).run()
}

/// A run that can be watched.
#[derive(Debug)]
pub struct Simulation {
    world: World,
    watcher: Watcher,
}

/// Everybody who looks at what happens.
#[derive(Debug)]
struct Watcher {
    work: Workload,
    invariants: Invariants,
    counters: Counters,
    chronicle: Option<Chronicle>,
    triggers: Vec<Trigger>,
    /// What the triggers want to strike after this step.
    strikes: Vec<FaultKind>,
    violation: Option<Violation>,
    answers: u64,
    answers_ok: u64,
    last_ok: Option<u64>,
    longest_gap: u64,
}

thread_local! {
    /// What the last panic of this thread said, while a run is on.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static RUNS: RefCell<bool> = const { RefCell::new(false) };
}

impl Simulation {
    /// The beginning of a run.
    pub fn new(plan: Plan) -> Self {
        let plan = Arc::new(plan);
        let work = Workload::new(plan.seed, &plan);
        let invariants = Invariants::new(&plan);
        Self {
            world: World::new(plan),
            watcher: Watcher {
                work,
                invariants,
                counters: Counters::default(),
                chronicle: None,
                triggers: Vec::new(),
                strikes: Vec::new(),
                violation: None,
                answers: 0,
                answers_ok: 0,
                last_ok: None,
                longest_gap: 0,
            },
        }
    }

    /// Writes down in words what happens from this true time on.
    pub fn traced_from(mut self, true_time: u64) -> Self {
        self.world.trace = Trace::read_from(true_time);
        self
    }

    /// Writes down what a story asks about.
    pub fn chronicled(mut self) -> Self {
        self.watcher.chronicle = Some(Chronicle::default());
        self
    }

    /// Faults that strike when something is seen.
    pub fn with_triggers(mut self, triggers: Vec<Trigger>) -> Self {
        self.watcher.triggers = triggers;
        self
    }

    /// Runs to the end, or to the first rule that is broken. A panic of a machine is one.
    pub fn run(mut self) -> Report {
        let ends = self.world.plan.ends();
        let panicked = caught(|| {
            self.run_until(ends);
            if self.watcher.violation.is_none() {
                let watcher = &mut self.watcher;
                let end = watcher.invariants.at_end(&self.world, &watcher.work);
                watcher.violation = end.err();
            }
        });
        let watcher = self.watcher;
        let mut chronicle = watcher.chronicle.unwrap_or_default();
        chronicle.waits = watcher.work.waits().to_vec();
        chronicle.strikes = std::mem::take(&mut self.world.strikes);
        let triggers = watcher.triggers.iter().enumerate();
        let silent = triggers.filter(|(_, trigger)| !trigger.fired());
        Report {
            silent: silent.map(|(number, _)| number).collect(),
            chronicle,
            seed: self.world.plan.seed,
            violation: panicked.or(watcher.violation),
            true_time: self.world.true_time,
            steps: self.world.steps,
            trace_hash: self.world.trace.hash(),
            lines: self.world.trace.into_lines(),
            counters: watcher.counters,
            answers: watcher.answers,
            answers_ok: watcher.answers_ok,
            longest_gap: watcher.longest_gap,
        }
    }

    /// The numbers of the steps between two true times.
    pub fn steps_between(mut self, from: u64, until: u64) -> Range<u64> {
        self.run_until(from);
        let first = self.world.steps;
        self.run_until(until);
        first..self.world.steps
    }

    fn run_until(&mut self, until: u64) {
        let Self { world, watcher } = self;
        while watcher.violation.is_none() {
            let world_due = world.due().unwrap_or(u64::MAX);
            let work_due = watcher.work.due().unwrap_or(u64::MAX);
            if world_due.min(work_due) > until {
                break;
            }
            if work_due <= world_due {
                world.true_time = world.true_time.max(work_due);
                for (node, call, ticket) in watcher.work.step(world.true_time) {
                    world.call(node, call, ticket, watcher);
                }
            } else {
                world.advance(watcher);
            }
            for kind in std::mem::take(&mut watcher.strikes) {
                world.strike(kind, watcher);
            }
        }
    }
}

impl Watch for Watcher {
    fn after_step(&mut self, world: &World, seen: &Observation<'_>) -> CarriedOut {
        self.counters.observe(world, seen);
        if self.violation.is_none() {
            self.violation = self.invariants.after_step(world, seen).err();
        }
        let mut carried_out = CarriedOut::All;
        for trigger in &mut self.triggers {
            if let Some(strikes) = trigger.look(world, seen) {
                carried_out = carried_out.min(trigger.carried_out);
                self.strikes.extend(strikes);
            }
        }
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.observe(world, seen, carried_out);
        }
        carried_out
    }

    fn answered(
        &mut self,
        node: NodeId,
        ticket: Ticket,
        answer: &Arc<Result<Payload, CallError>>,
        true_time: u64,
    ) {
        self.answers += 1;
        if let (Some(chronicle), Err(error)) = (&mut self.chronicle, answer.as_ref()) {
            chronicle.refused(true_time, node, error);
        }
        if answer.is_ok() {
            self.answers_ok += 1;
            let gap = self.last_ok.map_or(0, |last| true_time - last);
            self.longest_gap = self.longest_gap.max(gap);
            self.last_ok = Some(true_time);
        }
        self.work.answered(node, ticket, answer, true_time);
        if self.violation.is_none() {
            self.violation = self.work.violation().cloned();
        }
    }

    fn crashed(&mut self, node: NodeId) {
        self.work.node_crashed(node);
    }
}

/// Runs it; if it panics, says so without the noise.
fn caught(run: impl FnOnce()) -> Option<Violation> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if RUNS.with_borrow(|runs| *runs) {
                PANIC.set(Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
    RUNS.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    RUNS.set(false);
    match result {
        Ok(()) => None,
        Err(_) => Some(Violation::new(
            "panic",
            PANIC.take().unwrap_or_else(|| "without words".to_owned()),
        )),
    }
}
