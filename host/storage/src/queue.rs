use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::commit::Job;

/// The commits that wait for the committer, bounded in number and in bytes.
///
/// Not a channel of a library: those bound the number alone, and 4,096 states of 64 MiB would not fit into memory. A
/// mutex is enough, since it is held for moving a few words and the committer takes a whole group at a time.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Signalled when there is something to take, or the queue closes.
    work: Condvar,
    /// Signalled when there is room, or the queue closes.
    room: Condvar,
    jobs_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<(usize, Job)>,
    bytes: usize,
    closed: bool,
    /// Whether the committer sleeps, so that pushing onto a busy one costs no system call.
    taker_sleeps: bool,
    pushers_sleep: usize,
}

/// What became of waiting for work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There is a group.
    Group,
    /// Nothing came within the time.
    Nothing,
    /// The queue is closed, and empty for good.
    Closed,
}

impl Queue {
    pub(crate) fn new(jobs_max: usize, bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            jobs_max: jobs_max.max(1),
            bytes_max,
        }
    }

    /// Appends a job, waiting for room. A closed queue drops it, which answers it.
    pub(crate) fn push(&self, job: Job) {
        let bytes = job.change.cost_bytes();
        let mut waiting = self.lock();
        while !waiting.closed && self.full(&waiting, bytes) {
            waiting.pushers_sleep += 1;
            waiting = wait(&self.room, waiting);
            waiting.pushers_sleep -= 1;
        }
        if waiting.closed {
            // Unlocked first: the answer is a callback, which may do anything.
            drop(waiting);
            drop(job);
            return;
        }
        waiting.jobs.push_back((bytes, job));
        waiting.bytes += bytes;
        if waiting.taker_sleeps {
            self.work.notify_one();
        }
    }

    /// Moves the oldest jobs into `group`, at least one and no more than the bounds, waiting at most `patience` for the
    /// first.
    pub(crate) fn take(
        &self,
        group: &mut Vec<Job>,
        jobs_max: usize,
        bytes_max: usize,
        patience: Option<Duration>,
    ) -> Taken {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() {
            if waiting.closed {
                return Taken::Closed;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Taken::Nothing;
            }
            waiting.taker_sleeps = true;
            waiting = match left {
                None => wait(&self.work, waiting),
                Some(left) => {
                    self.work
                        .wait_timeout(waiting, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
            waiting.taker_sleeps = false;
        }
        let mut bytes_taken = 0;
        while group.len() < jobs_max
            && let Some((bytes, _)) = waiting.jobs.front()
            && (group.is_empty() || bytes_taken + bytes <= bytes_max)
            && let Some((bytes, job)) = waiting.jobs.pop_front()
        {
            bytes_taken += bytes;
            group.push(job);
        }
        waiting.bytes -= bytes_taken;
        if waiting.pushers_sleep > 0 {
            self.room.notify_all();
        }
        Taken::Group
    }

    /// Refuses further jobs; those that wait are still taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Closes and answers what waits: nobody takes any more.
    pub(crate) fn abandon(&self) {
        self.close();
        let abandoned = std::mem::take(&mut self.lock().jobs);
        drop(abandoned);
    }

    fn full(&self, waiting: &Waiting, bytes: usize) -> bool {
        let jobs = waiting.jobs.len();
        jobs >= self.jobs_max || (jobs > 0 && waiting.bytes + bytes > self.bytes_max)
    }

    /// A panic cannot happen while the lock is held: nothing in here calls out.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(on: &Condvar, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
    on.wait(waiting).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::StoreError;
    use crate::commit::{Change, Reply};
    use crate::engine::Table;

    fn job(bytes: usize) -> (Job, Receiver<Result<u64, StoreError>>) {
        let (sender, receiver) = channel();
        let change = Change::RemoveKeys(vec![(Table::States, vec![0; bytes])]);
        let reply = Reply::new(Box::new(move |outcome| {
            // A test need not wait for the answer.
            let _ = sender.send(outcome);
        }));
        (Job { change, reply }, receiver)
    }

    #[test]
    fn a_group_is_bounded_in_number_and_bytes_yet_never_empty() {
        let queue = Queue::new(10, 1 << 20);
        let mut kept = Vec::new();
        for bytes in [5_000, 10, 10, 10] {
            let (job, receiver) = job(bytes);
            kept.push(receiver);
            queue.push(job);
        }
        let mut group = Vec::new();
        assert_eq!(queue.take(&mut group, 2, 1_000, None), Taken::Group);
        assert_eq!(group.len(), 1, "the first alone is over the bound");
        group.clear();
        assert_eq!(queue.take(&mut group, 2, 1_000, None), Taken::Group);
        assert_eq!(group.len(), 2);
    }

    #[test]
    fn a_full_queue_blocks_until_there_is_room() {
        let queue = Queue::new(1, 1 << 20);
        let (first, _kept) = job(1);
        let (second, _kept) = job(1);
        queue.push(first);
        std::thread::scope(|scope| {
            let pusher = scope.spawn(|| queue.push(second));
            let mut group = Vec::new();
            while group.len() < 2 {
                queue.take(&mut group, 2, 1 << 20, None);
            }
            pusher.join().unwrap();
        });
    }

    #[test]
    fn waiting_for_work_ends_with_the_patience() {
        let queue = Queue::new(1, 1);
        let taken = queue.take(&mut Vec::new(), 1, 1, Some(Duration::from_millis(1)));
        assert_eq!(taken, Taken::Nothing);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_answers_what_comes() {
        let queue = Queue::new(4, 1 << 20);
        let (early, _kept) = job(1);
        queue.push(early);
        queue.close();
        let (late, answer) = job(1);
        queue.push(late);
        assert!(matches!(answer.recv(), Ok(Err(StoreError::Closed))));
        let mut group = Vec::new();
        assert_eq!(queue.take(&mut group, 4, 1 << 20, None), Taken::Group);
        assert_eq!(queue.take(&mut group, 4, 1 << 20, None), Taken::Closed);
    }

    #[test]
    fn an_abandoned_queue_answers_what_waits() {
        let queue = Queue::new(4, 1 << 20);
        let (early, answer) = job(1);
        queue.push(early);
        queue.abandon();
        assert!(matches!(answer.recv(), Ok(Err(StoreError::Closed))));
    }
}
