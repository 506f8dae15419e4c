use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EntityId, KindName, Payload};

/// Why a call has no result.
///
/// The same value crosses nodes and becomes the HTTP error. Its text says what happened, [`CallError::may_have_run`]
/// whether the call's effect may be in the entity's state, and [`CallError::hint`] what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CallError {
    /// No kind of that name is deployed.
    #[error("no kind `{kind}` is deployed; {}", listed("there is", known))]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// The kinds that exist, some of them if they are many.
        known: Vec<String>,
    },
    /// The kind has no method of that name.
    #[error("`{kind}` has no method `{method}`; {}", listed("it has", known))]
    UnknownMethod {
        /// The kind.
        kind: KindName,
        /// What was asked for.
        method: String,
        /// The methods that exist.
        known: Vec<String>,
    },
    /// The arguments do not fit the method's schema.
    #[error("{message}")]
    BadArguments {
        /// Which argument, and what is wrong with it.
        message: String,
    },
    /// Something that came in or would go out is larger than its bound.
    #[error("{subject} may have {bytes_max} bytes, and there are more")]
    TooLarge {
        /// What is too large.
        subject: Subject,
        /// The bound.
        bytes_max: u64,
    },
    /// The entity answered with a refusal.
    #[error("{}", .0.message)]
    Rejected(Rejection),
    /// The same idempotency key came before, with other arguments. Nothing ran.
    #[error("the idempotency key `{key}` was used before for `{method}` with other arguments")]
    KeyReused {
        /// The client's key.
        key: String,
        /// The method that both calls name.
        method: String,
    },
    /// A bounded queue is full.
    #[error("{queue} is full")]
    Overloaded {
        /// Which queue.
        queue: String,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The deadline passed before there was an answer.
    #[error("the deadline passed {}", if *may_have_run { "while the call ran" } else { "before the call began" })]
    DeadlineExceeded {
        /// Whether the call had begun.
        may_have_run: bool,
    },
    /// The guest overran one of its bounds; the turn was undone.
    #[error("{limit}")]
    LimitExceeded {
        /// Which bound.
        limit: GuestLimit,
    },
    /// The guest trapped; the turn was undone.
    #[error("the entity trapped in {during}: {message}")]
    Trapped {
        /// The export that trapped, such as `handle`.
        during: String,
        /// The panic's text or the trap's name, with the guest's backtrace if it has one.
        message: String,
    },
    /// The entity could not read its stored state.
    #[error("{entity} cannot start from its stored state: {message}")]
    ActivationFailed {
        /// The entity.
        entity: EntityId,
        /// What its `activate` answered.
        message: String,
    },
    /// The result cannot be shown as JSON.
    #[error("the result cannot be written as JSON: {message}")]
    BadResult {
        /// What in the result, and why.
        message: String,
    },
    /// The store could not be read or written; an answer that told of what was not written was withheld.
    #[error("the store failed: {message}")]
    StoreFailed {
        /// What the store said.
        message: String,
        /// False if nothing was written for certain.
        may_have_run: bool,
    },
    /// The entity failed again and again and is left alone for a while.
    #[error("{entity} is quarantined after repeated failures, the last of them: {reason}")]
    Quarantined {
        /// The entity.
        entity: EntityId,
        /// The last failure.
        reason: String,
        /// When the next call is let through, in milliseconds.
        retry_after_ms: u64,
    },
    /// The turn was undone, and turns before it with it: the large state of a kind in memory is not saved after each.
    #[error("{cause}; undone with it: {commands} commands answered since the state was last saved")]
    UndoneSince {
        /// What happened.
        cause: Box<CallError>,
        /// How many commands that had been answered.
        commands: u64,
    },
    /// The call would close a circle of entities that wait for each other.
    #[error("deadlock: {}", chain.iter().map(ToString::to_string).collect::<Vec<_>>().join(" waits for "))]
    Deadlock {
        /// Who waits for whom: the entity that called first, and last again.
        chain: Vec<EntityId>,
        /// The circle was found when the call was on its way already: where it waits, it may still run.
        may_have_run: bool,
    },
    /// Too many entities wait for each other, one within the other.
    #[error(
        "{chain_max} entities wait for each other already, each for the next, and this call would be one more"
    )]
    TooDeep {
        /// The bound.
        chain_max: usize,
    },
    /// A query called a command of another entity.
    #[error("a query may only call queries, and `{method}` of `{kind}` is a command")]
    InQuery {
        /// The kind of the other entity.
        kind: KindName,
        /// The method that was called.
        method: String,
    },
    /// The node is going down and takes no new calls.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// Nobody can serve the entity now.
    #[error("{reason}")]
    Unavailable {
        /// Why not.
        reason: Unavailability,
    },
    /// The entity's shard moved or went away while the call was with it, and it is not known how far the call came.
    #[error("the call was interrupted: the entity had to move and could not wait for it")]
    Interrupted,
}

/// Why nobody can serve an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unavailability {
    /// Its shard is not assigned: its node is gone, and nobody has taken over yet.
    #[error("no node has the entity's shard at the moment")]
    NoOwner,
    /// Its shard is between two nodes.
    #[error("the entity is moving to another node")]
    Moving,
    /// Fewer disks than needed can be read to be sure of its latest state.
    #[error("too few of the disks that keep the entity's state can be reached")]
    StateUnavailable,
    /// The node that has it may not act: it has lost touch with the cluster.
    #[error(
        "the entity's node has lost touch with the cluster and serves nothing until it is back"
    )]
    NoLease,
    /// The node that has it does not have its code yet.
    #[error("the entity's node is still fetching the kind's component")]
    NoComponent,
    /// The node that was asked is not a member of a cluster yet.
    #[error("the node is not a member of the cluster yet")]
    NotMember,
}

/// An entity's refusal: an answer, not a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// For programs: a short stable word.
    pub code: String,
    /// For people.
    pub message: String,
    /// MessagePack by the method's rejection schema.
    pub data: Option<Payload>,
}

/// What was too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A call's arguments.
    Arguments,
    /// A call's result, or a rejection's data.
    Result,
    /// The state that `snapshot` returned.
    State,
    /// An idempotency key.
    IdempotencyKey,
    /// A component.
    Component,
}

/// The bound that a guest overran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestLimit {
    /// Processor time of one turn.
    Cpu {
        /// The export that ran.
        during: String,
        /// The bound in milliseconds.
        cpu_ms_max: u64,
    },
    /// Linear memory.
    Memory {
        /// The export that ran.
        during: String,
        /// The bound in bytes.
        memory_bytes_max: u64,
    },
    /// The call stack: recursion without end.
    Stack {
        /// The export that ran.
        during: String,
        /// The bound in bytes.
        stack_bytes_max: u64,
    },
    /// Elements of a table.
    Table {
        /// The export that ran.
        during: String,
        /// The bound.
        table_elements_max: u64,
    },
    /// Calls of host functions in one turn.
    HostCalls {
        /// The export that ran.
        during: String,
        /// The bound.
        host_calls_max: u64,
    },
}

impl CallError {
    /// The stable word for programs, as in the HTTP API's `error.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKind { .. } => "unknown_kind",
            Self::UnknownMethod { .. } => "unknown_method",
            Self::BadArguments { .. } => "bad_arguments",
            Self::TooLarge { .. } => "too_large",
            Self::Rejected(_) => "rejected",
            Self::KeyReused { .. } => "key_reused",
            Self::Overloaded { .. } => "overloaded",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::Trapped { .. } => "trapped",
            Self::ActivationFailed { .. } => "activation_failed",
            Self::BadResult { .. } => "bad_result",
            Self::StoreFailed { .. } => "store_failed",
            Self::Quarantined { .. } => "quarantined",
            Self::UndoneSince { .. } => "undone_since",
            Self::Deadlock { .. } => "deadlock",
            Self::TooDeep { .. } => "too_deep",
            Self::InQuery { .. } => "in_query",
            Self::ShuttingDown => "shutting_down",
            Self::Unavailable { .. } => "unavailable",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the call's effect may be in the entity's state. False: repeating the call cannot double anything.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::DeadlineExceeded { may_have_run }
            | Self::StoreFailed { may_have_run, .. }
            | Self::Deadlock { may_have_run, .. } => *may_have_run,
            // A refusal keeps what the turn changed before it, and a result that cannot be shown was computed.
            Self::Rejected(_) | Self::BadResult { .. } | Self::Interrupted => true,
            Self::UnknownKind { .. }
            | Self::UnknownMethod { .. }
            | Self::BadArguments { .. }
            | Self::TooLarge { .. }
            | Self::KeyReused { .. }
            | Self::Overloaded { .. }
            | Self::LimitExceeded { .. }
            | Self::Trapped { .. }
            | Self::ActivationFailed { .. }
            | Self::Quarantined { .. }
            | Self::UndoneSince { .. }
            | Self::TooDeep { .. }
            | Self::InQuery { .. }
            | Self::ShuttingDown
            | Self::Unavailable { .. } => false,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownKind { .. } => "check the name, or deploy the kind with `entia deploy`",
            Self::UnknownMethod { .. } => "check the name; `entia kinds` lists each kind's methods",
            Self::BadArguments { .. } => "the method's schema is in GET /v1/kinds/{kind}",
            Self::TooLarge {
                subject: Subject::IdempotencyKey,
                ..
            } => "nothing ran; use a shorter key",
            Self::TooLarge {
                subject: Subject::Component,
                ..
            } => "build it with `entia build`, which optimises for size",
            Self::TooLarge { .. } => {
                "nothing was kept; send less at a time, or raise the kind's limit when deploying"
            }
            Self::Rejected(_) => "the entity's own answer; see its documentation",
            Self::KeyReused { .. } => "nothing ran; use a fresh key for a new command",
            Self::Overloaded { .. } => "nothing ran; try again after the time given",
            Self::DeadlineExceeded { may_have_run: true }
            | Self::StoreFailed {
                may_have_run: true, ..
            }
            | Self::Interrupted => {
                "repeat the call with the same Idempotency-Key: it takes effect once"
            }
            Self::DeadlineExceeded { .. } => {
                "nothing ran; try again, or give Entia-Deadline-Ms more time"
            }
            Self::LimitExceeded { .. } => {
                "the state is as before the call; make the method cheaper, or raise the kind's limit when deploying"
            }
            Self::Trapped { .. } => {
                "the state is as before the call; the message says where the entity failed"
            }
            Self::ActivationFailed { .. } => {
                "deploy a version whose `upgrade` reads this state, or delete the entity"
            }
            Self::BadResult { .. } => "the call ran; return finite numbers and maps with text keys",
            Self::StoreFailed { .. } => {
                "nothing was kept; see the node's log for the disk's error, then try again"
            }
            Self::Quarantined { .. } => {
                "nothing ran; remove the cause, then `entia release KIND/KEY`, or wait for the next try"
            }
            Self::UndoneSince { .. } => {
                "states over 64 KiB of kinds in memory are saved at most every 100 ms; deploy the kind as durable, or keep less in one entity"
            }
            Self::Deadlock {
                may_have_run: true, ..
            } => {
                "the call waits where it was sent, and may still run; let one of them `send`, which does not wait, instead of `call`"
            }
            Self::Deadlock { .. } => {
                "nothing ran; let one of them `send`, which does not wait, instead of `call`"
            }
            Self::TooDeep { .. } => {
                "nothing ran; send messages, which wait for nobody, or call fewer one within the other"
            }
            Self::InQuery { .. } => "nothing ran; make the calling method a command (`&mut self`)",
            Self::ShuttingDown => "nothing ran; try again when the node is back",
            Self::Unavailable {
                reason: Unavailability::StateUnavailable,
            } => "nothing ran; start the nodes that keep the entity's state, then try again",
            Self::Unavailable { .. } => "nothing ran; try again in a moment",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arguments => "the arguments",
            Self::Result => "the result",
            Self::State => "the entity's state after the call",
            Self::IdempotencyKey => "the idempotency key",
            Self::Component => "the component",
        })
    }
}

impl fmt::Display for GuestLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { during, cpu_ms_max } => {
                write!(
                    f,
                    "the entity ran longer than {cpu_ms_max} ms in {during} (cpu_ms_max)"
                )
            }
            Self::Memory {
                during,
                memory_bytes_max,
            } => {
                write!(
                    f,
                    "the entity wanted more than {memory_bytes_max} bytes of memory in {during} (memory_bytes_max)"
                )
            }
            Self::Stack {
                during,
                stack_bytes_max,
            } => {
                write!(
                    f,
                    "the entity recursed past its stack of {stack_bytes_max} bytes in {during} (stack_bytes_max)"
                )
            }
            Self::Table {
                during,
                table_elements_max,
            } => {
                write!(
                    f,
                    "the entity wanted more than {table_elements_max} table elements in {during} (table_elements_max)"
                )
            }
            Self::HostCalls {
                during,
                host_calls_max,
            } => {
                write!(
                    f,
                    "the entity called the host more than {host_calls_max} times in {during} (host_calls_max)"
                )
            }
        }
    }
}

fn listed(intro: &str, names: &[String]) -> String {
    if names.is_empty() {
        format!("{intro} none")
    } else {
        format!("{intro} {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_exists_instead() {
        let error = CallError::UnknownMethod {
            kind: KindName::new("counter").unwrap(),
            method: "inc".into(),
            known: vec!["increment".into(), "value".into()],
        };
        assert_eq!(
            error.to_string(),
            "`counter` has no method `inc`; it has increment, value"
        );
        assert!(!error.may_have_run());
    }

    #[test]
    fn a_deadline_says_whether_the_call_may_have_run() {
        let before = CallError::DeadlineExceeded {
            may_have_run: false,
        };
        let during = CallError::DeadlineExceeded { may_have_run: true };
        assert_ne!(before.to_string(), during.to_string());
        assert_ne!(before.hint(), during.hint());
    }

    #[test]
    fn an_interrupted_call_may_have_run_and_an_unavailable_entity_ran_nothing() {
        assert!(CallError::Interrupted.may_have_run());
        assert!(CallError::Interrupted.hint().contains("Idempotency-Key"));
        let reason = Unavailability::NoOwner;
        let error = CallError::Unavailable { reason };
        assert!(!error.may_have_run());
        assert_eq!(error.to_string(), reason.to_string());
        let bytes = rmp_serde::to_vec_named(&error).unwrap();
        assert_eq!(rmp_serde::from_slice::<CallError>(&bytes).unwrap(), error);
    }

    #[test]
    fn an_error_survives_the_wire() {
        let error = CallError::LimitExceeded {
            limit: GuestLimit::Cpu {
                during: "handle".into(),
                cpu_ms_max: 100,
            },
        };
        let bytes = rmp_serde::to_vec_named(&error).unwrap();
        assert_eq!(rmp_serde::from_slice::<CallError>(&bytes).unwrap(), error);
    }
}
