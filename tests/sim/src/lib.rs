//! A whole cluster in one thread and in virtual time: the machines of `entia-protocol` under every fault we can think of.
//!
//! A run is a pure function of its [`plan::Plan`], which is a pure function of a seed and a profile:
//!
//! ```text
//!   seed, profile ──► Plan ──► run ──► Report
//!                       │       │
//!                       │       ├── World: queue of what will happen, by true time
//!                       │       │     nodes (clock, disk, executor), net, log, faults
//!                       │       ├── Workload: clients, and the history that they saw
//!                       │       ├── Invariants: after every input
//!                       │       └── Counters: what has to happen sometimes
//!                       └── shrink: the fewest faults that still fail
//! ```

pub mod chronicle;
pub mod clock;
pub mod counters;
pub mod disk;
pub mod executor;
pub mod faults;
pub mod invariants;
pub mod log;
pub mod net;
pub mod node;
pub mod observation;
pub mod oracle;
pub mod plan;
pub mod queue;
pub mod row;
pub mod run;
pub mod seeded;
pub mod shrink;
pub mod story;
pub mod sweep;
pub mod trace;
pub mod violation;
pub mod work;
pub mod world;
