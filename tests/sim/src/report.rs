//! Many runs at a time, and what is said of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use entia_sim::counters::Counters;
use entia_sim::plan::Plan;
use entia_sim::run::{Report, run};
use entia_sim::shrink::Shrunk;

/// What many runs came to.
pub(crate) struct Sum {
    /// How many there were.
    pub(crate) runs: u64,
    /// Their inputs.
    pub(crate) steps: u64,
    /// Answers, and those that were no errors.
    pub(crate) answers: (u64, u64),
    /// What happened how often.
    pub(crate) counters: Counters,
    /// The runs that broke a rule, by their number.
    pub(crate) broken: Vec<(usize, Report)>,
    /// The longest time without a good answer, and in which run.
    pub(crate) longest_gap: (u64, usize),
    began: Instant,
}

/// Runs the plans of the numbers from 0 to `count` on all threads; stops after the first that breaks a rule, unless it is to go on.
pub(crate) fn run_all(
    count: usize,
    threads: usize,
    goes_on: bool,
    plan: &(dyn Fn(usize) -> Plan + Sync),
) -> Sum {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let sum = Mutex::new(Sum::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let report = run(plan(number));
                    if report.violation.is_some() && !goes_on {
                        stopped.store(true, Ordering::Relaxed);
                    }
                    let mut sum = sum.lock().expect("runs do not panic");
                    sum.add(number, report);
                }
            });
        }
    });
    let mut sum = sum.into_inner().expect("runs do not panic");
    sum.broken.sort_by_key(|(number, _)| *number);
    sum
}

/// As many threads as there are processors.
pub(crate) fn threads(wanted: Option<usize>) -> usize {
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or_else(processors).max(1)
}

impl Sum {
    fn new() -> Self {
        Self {
            runs: 0,
            steps: 0,
            answers: (0, 0),
            counters: Counters::default(),
            broken: Vec::new(),
            longest_gap: (0, 0),
            began: Instant::now(),
        }
    }

    fn add(&mut self, number: usize, report: Report) {
        self.runs += 1;
        self.steps += report.steps;
        self.answers.0 += report.answers;
        self.answers.1 += report.answers_ok;
        self.longest_gap = self.longest_gap.max((report.longest_gap, number));
        self.counters.merge(&report.counters);
        if report.violation.is_some() {
            self.broken.push((number, report));
        }
    }

    /// Says how fast it went, and what happened.
    pub(crate) fn print(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let runs = self.runs.max(1);
        println!(
            "{} runs in {seconds:.1} s: {:.1} a second, {} inputs each; {} answers, {} of them good; longest gap {:.2} s",
            self.runs,
            self.runs as f64 / seconds.max(0.001),
            self.steps / runs,
            self.answers.0,
            self.answers.1,
            self.longest_gap.0 as f64 / 1e9,
        );
        println!("{:?}", self.counters);
    }
}

/// Says what is left of a run that broke a rule.
pub(crate) fn print_shrunk(shrunk: &Shrunk, replay: &str) {
    let report = &shrunk.report;
    if let Some(violation) = &report.violation {
        println!("VIOLATION {violation}");
    }
    println!(
        "  seed {}, profile {}, {} nodes, at {:.6} s, step {}",
        report.seed,
        shrunk.plan.profile,
        shrunk.plan.nodes,
        report.true_time as f64 / 1e9,
        report.steps
    );
    for fault in &shrunk.plan.faults {
        println!("  {fault}");
    }
    println!("  again: {replay}");
}

/// The faults that are kept, as they are given on the command line.
pub(crate) fn kept(kept: &[usize]) -> String {
    if kept.is_empty() {
        return "none".to_owned();
    }
    let numbers: Vec<_> = kept.iter().map(usize::to_string).collect();
    numbers.join(",")
}
