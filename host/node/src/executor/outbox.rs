use std::collections::VecDeque;

use entia_protocol::CallError;

use super::delivery::{Answer, Reply};

/// Holds an entity's answers back until what they tell of is on disk.
///
/// Commits are numbered from 1 in the order in which the entity's turns made them. An answer leaves when every commit made
/// before it is settled, also the answer of a query: it may tell of a state that could still be lost. After a commit
/// failed, every answer that waited for it or for a later one becomes an error, and the activation has to be discarded.
///
/// It sends nothing itself: an answer may give work to a mailbox, which must not happen under the outbox's lock.
#[derive(Default)]
pub(super) struct Outbox {
    submitted: u64,
    settled: u64,
    failure: Option<String>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    after: u64,
    reply: Reply,
    answer: Answer,
}

impl Outbox {
    /// Numbers a commit that is about to be submitted.
    pub(super) fn submit(&mut self) -> u64 {
        self.submitted += 1;
        self.submitted
    }

    /// Takes an answer, and gives it back if it can leave at once.
    #[must_use]
    pub(super) fn push(&mut self, reply: Reply, answer: Answer) -> Option<(Reply, Answer)> {
        if let Some(message) = &self.failure {
            Some((reply, Err(lost(message, false))))
        } else if self.settled == self.submitted {
            Some((reply, answer))
        } else {
            self.waiting.push_back(Waiting {
                after: self.submitted,
                reply,
                answer,
            });
            None
        }
    }

    /// Takes note of a commit's end, and gives back the answers that can leave. The store settles commits in order.
    #[must_use]
    pub(super) fn settle(
        &mut self,
        number: u64,
        outcome: Result<(), String>,
    ) -> Vec<(Reply, Answer)> {
        debug_assert_eq!(
            number,
            self.settled + 1,
            "the store settles commits in order"
        );
        self.settled = number;
        if let Err(message) = outcome {
            self.failure.get_or_insert(message);
        }
        let ready = |waiting: &&Waiting| waiting.after <= self.settled;
        let ready = self.waiting.iter().take_while(ready).count();
        let failure = self.failure.as_deref();
        let leave = |Waiting { reply, answer, .. }| match failure {
            Some(message) => (reply, Err(lost(message, true))),
            None => (reply, answer),
        };
        self.waiting.drain(..ready).map(leave).collect()
    }

    /// The last commit that is settled, and the number that the next one will get.
    ///
    /// After a failure nothing is: what settled last may be what failed.
    pub(super) fn numbers(&self) -> (u64, u64) {
        let settled = match self.failure {
            None => self.settled,
            Some(_) => 0,
        };
        (settled, self.submitted + 1)
    }

    /// Whether nothing is on its way to the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.settled == self.submitted
    }

    /// What a failed commit said, until [`Outbox::recover`].
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Forgets a failure after the activation was discarded. Only once nothing is on its way any more.
    pub(super) fn recover(&mut self) -> bool {
        if self.is_settled() {
            self.failure = None;
        }
        self.failure.is_none()
    }
}

fn lost(message: &str, may_have_run: bool) -> CallError {
    CallError::StoreFailed {
        message: message.to_owned(),
        may_have_run,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use entia_protocol::Payload;
    use tokio::sync::oneshot;

    use super::super::delivery;
    use super::super::pending::Pending;
    use super::*;

    fn reply() -> (Reply, oneshot::Receiver<Answer>) {
        delivery::reply(Arc::new(Pending::new(1)).begin().unwrap())
    }

    fn push(outbox: &mut Outbox, reply: Reply, answer: Answer) {
        let leaves = outbox.push(reply, answer);
        leaves
            .into_iter()
            .for_each(|(reply, answer)| reply.send(answer));
    }

    fn settle(outbox: &mut Outbox, number: u64, outcome: Result<(), String>) {
        let leave = outbox.settle(number, outcome);
        leave
            .into_iter()
            .for_each(|(reply, answer)| reply.send(answer));
    }

    fn answer(number: u8) -> Answer {
        Ok(Payload(vec![number]))
    }

    #[test]
    fn an_answer_leaves_only_after_every_commit_made_before_it() {
        let mut outbox = Outbox::default();
        let (first, mut first_answer) = reply();
        let (second, mut second_answer) = reply();
        let (query, mut query_answer) = reply();
        outbox.submit();
        push(&mut outbox, first, answer(1));
        outbox.submit();
        push(&mut outbox, second, answer(2));
        push(&mut outbox, query, answer(3));
        assert!(first_answer.try_recv().is_err(), "nothing is on disk yet");

        settle(&mut outbox, 1, Ok(()));
        assert_eq!(first_answer.try_recv(), Ok(answer(1)));
        assert!(second_answer.try_recv().is_err());
        assert!(
            query_answer.try_recv().is_err(),
            "it may tell of the second commit's state"
        );

        settle(&mut outbox, 2, Ok(()));
        assert_eq!(second_answer.try_recv(), Ok(answer(2)));
        assert_eq!(query_answer.try_recv(), Ok(answer(3)));
        let (idle, mut idle_answer) = reply();
        push(&mut outbox, idle, answer(4));
        assert_eq!(
            idle_answer.try_recv(),
            Ok(answer(4)),
            "nothing is on its way"
        );
    }

    #[test]
    fn a_failed_commit_takes_back_every_answer_that_told_of_it() {
        let mut outbox = Outbox::default();
        let (first, mut first_answer) = reply();
        let (second, mut second_answer) = reply();
        outbox.submit();
        push(&mut outbox, first, answer(1));
        outbox.submit();
        push(&mut outbox, second, answer(2));
        settle(&mut outbox, 1, Err("disk full".to_owned()));
        let Ok(Err(error)) = first_answer.try_recv() else {
            panic!("the answer was taken back")
        };
        assert!(
            error.may_have_run(),
            "what a failed commit left on disk is unknown"
        );
        assert!(!outbox.recover(), "the second is still on its way");
        let (late, mut late_answer) = reply();
        push(&mut outbox, late, answer(3));
        assert!(matches!(late_answer.try_recv(), Ok(Err(_))));

        settle(&mut outbox, 2, Err("disk full".to_owned()));
        assert!(matches!(second_answer.try_recv(), Ok(Err(_))));
        assert!(outbox.recover());
        let (again, mut again_answer) = reply();
        push(&mut outbox, again, answer(4));
        assert_eq!(
            again_answer.try_recv(),
            Ok(answer(4)),
            "started again from disk"
        );
    }
}
