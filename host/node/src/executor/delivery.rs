use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use entia_protocol::{CallError, Envelope, Payload};
use tokio::sync::oneshot;

use super::calls::Waiting;
use super::pending::PendingGuard;
use crate::catalog::Kind;

/// What a call ends in.
pub type Answer = Result<Payload, CallError>;

/// A call in a mailbox.
pub(super) struct Delivery {
    envelope: Envelope,
    deadline: Instant,
    progress: Arc<Progress>,
    reply: Reply,
}

/// A call that has begun: it is answered whatever happens.
pub(super) struct Begun {
    pub(super) envelope: Envelope,
    pub(super) deadline: Instant,
    pub(super) reply: Reply,
}

/// The way back to whoever waits. Sent at most once; dropped, it tells a caller that nothing will come.
pub(super) struct Reply {
    to: To,
    /// Where the answer is counted.
    kind: Option<Arc<Kind>>,
    /// Of a call between entities: over with the answer.
    waiting: Option<Arc<Waiting>>,
    /// Counts the call as under way until its answer has left.
    _pending: Option<PendingGuard>,
}

enum To {
    Caller(oneshot::Sender<Answer>),
    /// Called with the answer, on whichever thread has it; so it has to be cheap.
    Within(Box<dyn FnOnce(Answer) + Send>),
}

/// The caller's end of a call.
#[derive(Debug)]
pub struct Ticket {
    deadline: Instant,
    progress: Arc<Progress>,
    answer: oneshot::Receiver<Answer>,
    query: bool,
}

/// A way back for work that has no deadline of its own, and its other end.
pub(super) fn reply(pending: PendingGuard) -> (Reply, oneshot::Receiver<Answer>) {
    let (sender, answer) = oneshot::channel();
    let reply = Reply {
        to: To::Caller(sender),
        kind: None,
        waiting: None,
        _pending: Some(pending),
    };
    (reply, answer)
}

/// As [`reply`], within work that is counted already.
pub(super) fn uncounted_reply() -> (Reply, oneshot::Receiver<Answer>) {
    let (sender, answer) = oneshot::channel();
    let reply = Reply {
        to: To::Caller(sender),
        kind: None,
        waiting: None,
        _pending: None,
    };
    (reply, answer)
}

/// Waits for an answer without a deadline.
pub(super) async fn received(answer: oneshot::Receiver<Answer>) -> Answer {
    answer.await.unwrap_or_else(|_dropped| Err(stopped(true)))
}

/// As [`received`], on a thread that may block.
pub(super) fn received_blocking(answer: oneshot::Receiver<Answer>) -> Answer {
    answer
        .blocking_recv()
        .unwrap_or_else(|_dropped| Err(stopped(true)))
}

fn stopped(may_have_run: bool) -> CallError {
    CallError::StoreFailed {
        message: "the node stopped before the answer left".to_owned(),
        may_have_run,
    }
}

/// Decides a race once: either the executor begins a call, or its caller gives it up before that.
#[derive(Debug, Default)]
struct Progress(AtomicU8);

const QUEUED: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Delivery {
    /// A call and its caller's end. `query` tells the caller that a turn cut off had no effect.
    pub(super) fn new(
        envelope: Envelope,
        deadline: Instant,
        query: bool,
        pending: PendingGuard,
    ) -> (Self, Ticket) {
        let (reply, answer) = reply(pending);
        let progress = Arc::new(Progress::default());
        let ticket = Ticket {
            deadline,
            progress: Arc::clone(&progress),
            answer,
            query,
        };
        (
            Self {
                envelope,
                deadline,
                progress,
                reply,
            },
            ticket,
        )
    }

    /// A call whose answer the node itself waits for.
    pub(super) fn within(envelope: Envelope, deadline: Instant, reply: Reply) -> Self {
        Self {
            envelope,
            deadline,
            progress: Arc::default(),
            reply,
        }
    }

    /// Ends a wait with the call's answer.
    pub(super) fn ends(&mut self, waiting: Arc<Waiting>) {
        self.reply.waiting = Some(waiting);
    }

    /// Counts the call's end for its kind.
    pub(super) fn count_for(&mut self, kind: &Arc<Kind>) {
        self.reply.kind = Some(Arc::clone(kind));
    }

    /// Begins the call, unless its caller has given up or its deadline has passed; then it never runs.
    pub(super) fn begin(self) -> Option<Begun> {
        // A caller who has given up is not there to be answered, but is counted.
        if !self.progress.advance(BEGUN) || Instant::now() >= self.deadline {
            self.reply.send(Err(CallError::DeadlineExceeded {
                may_have_run: false,
            }));
            return None;
        }
        Some(Begun {
            envelope: self.envelope,
            deadline: self.deadline,
            reply: self.reply,
        })
    }

    /// Answers the call without running it.
    pub(super) fn refuse(self, error: CallError) {
        if let Some(begun) = self.begin() {
            begun.reply.send(Err(error));
        }
    }
}

impl Reply {
    /// Whether nobody reads the answer's result, only whether there is one.
    pub(super) fn is_within(&self) -> bool {
        matches!(self.to, To::Within(_))
    }

    /// A way back that is a function; see [`To::Within`].
    pub(super) fn within(
        pending: Option<PendingGuard>,
        answered: impl FnOnce(Answer) + Send + 'static,
    ) -> Self {
        Self {
            to: To::Within(Box::new(answered)),
            kind: None,
            waiting: None,
            _pending: pending,
        }
    }

    pub(super) fn send(self, answer: Answer) {
        if let Some(kind) = &self.kind {
            kind.counters.called(&answer);
        }
        if let Some(waiting) = &self.waiting {
            waiting.release();
        }
        match self.to {
            // A caller that has gone does not want its answer.
            To::Caller(sender) => drop(sender.send(answer)),
            To::Within(answered) => answered(answer),
        }
    }
}

impl Ticket {
    /// Waits for the answer, until the deadline.
    pub async fn answer(self) -> Answer {
        let deadline = tokio::time::Instant::from_std(self.deadline);
        match tokio::time::timeout_at(deadline, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(stopped(!self.query)),
            Err(_elapsed) => {
                let never = self.progress.advance(GIVEN_UP);
                Err(CallError::DeadlineExceeded {
                    may_have_run: !never && !self.query,
                })
            }
        }
    }
}

impl Progress {
    /// Whether this was the first to decide.
    fn advance(&self, to: u8) -> bool {
        self.0
            .compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use entia_protocol::{Caller, CommandKey};

    use super::super::pending::Pending;
    use super::*;

    fn call(deadline: Instant) -> (Delivery, Ticket) {
        let envelope = Envelope {
            entity: "counter/a".parse().unwrap(),
            method: "increment".into(),
            arguments: Payload::default(),
            caller: Caller::Anonymous,
            key: CommandKey::Random([0; 16]),
            attempt: 1,
            deadline_left_ms: 1_000,
            chain: Vec::new(),
        };
        let pending = Arc::new(Pending::new(10));
        Delivery::new(envelope, deadline, false, pending.begin().unwrap())
    }

    #[tokio::test]
    async fn a_call_given_up_before_it_began_never_begins() {
        let (delivery, ticket) = call(Instant::now());
        let answer = ticket.answer().await;
        assert_eq!(
            answer,
            Err(CallError::DeadlineExceeded {
                may_have_run: false
            })
        );
        assert!(delivery.begin().is_none());
    }

    #[tokio::test]
    async fn a_call_that_began_may_have_run() {
        let (delivery, ticket) = call(Instant::now() + Duration::from_millis(100));
        let begun = delivery.begin();
        assert!(begun.is_some());
        let answer = ticket.answer().await;
        assert_eq!(
            answer,
            Err(CallError::DeadlineExceeded { may_have_run: true })
        );
    }

    #[tokio::test]
    async fn a_call_past_its_deadline_is_answered_and_does_not_run() {
        let (delivery, ticket) = call(Instant::now());
        assert!(delivery.begin().is_none());
        let answer = ticket.answer().await;
        assert_eq!(
            answer,
            Err(CallError::DeadlineExceeded {
                may_have_run: false
            })
        );
    }
}
