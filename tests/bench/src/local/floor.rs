use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::oneshot;

use super::guest::{Guest, Guests};
use crate::cores::Cores;
use crate::load::{Caller, ENTITIES};
use crate::node::{Method, key};
use crate::places;

/// Instances, and one thread that visits those with something to do: what an executor is at its least.
pub(super) struct RunQueue {
    cells: Arc<[Cell]>,
    queue: Sender<Visit>,
    worker: JoinHandle<()>,
}

/// What the worker does next: visit the cell of that number, or end.
type Visit = Option<usize>;

struct Cell {
    mailbox: Mutex<Mailbox>,
    guest: Mutex<Guest>,
}

#[derive(Default)]
struct Mailbox {
    asks: VecDeque<Ask>,
    /// In the run-queue, or being visited.
    scheduled: bool,
}

struct Ask {
    method: &'static str,
    arguments: Vec<u8>,
    snapshot: bool,
    reply: oneshot::Sender<wasmtime::Result<Vec<u8>>>,
}

/// Calls of a cell before another has its turn: as many as ours.
const ASKS_PER_VISIT: usize = 16;
/// Guests have 512 KiB of stack, on top of the worker's own.
const STACK_BYTES: usize = 4 << 20;

impl RunQueue {
    pub(super) fn start(cores: Cores) -> Result<Self> {
        cores.pin_server()?;
        let wasm = std::fs::read(places::counter()?)?;
        let guests = Guests::compile(&wasm).map_err(trapped)?;
        let cell = |number| {
            Ok(Cell {
                mailbox: Mutex::default(),
                guest: Mutex::new(guests.start(key(number)).map_err(trapped)?),
            })
        };
        let cells: Arc<[Cell]> = (0..ENTITIES).map(cell).collect::<Result<_>>()?;
        let (queue, runnable) = unbounded();
        let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn({
            let (cells, queue) = (Arc::clone(&cells), queue.clone());
            move || work(&cells, &queue, &runnable)
        })?;
        Ok(Self {
            cells,
            queue,
            worker,
        })
    }

    /// A call's time without a queue: of one instance again and again, and of all in turn. Tells how much of the floor is the
    /// guest's own code and how much is caches that it finds cold.
    pub(super) fn direct(&self, method: Method) -> Result<(Duration, Duration)> {
        const CALLS: u32 = 50_000;
        let arguments = method.arguments()?;
        let time = |cells: &[Cell]| {
            let started = Instant::now();
            for cell in cells.iter().cycle().take(CALLS as usize) {
                let mut guest = cell.guest.lock().unwrap_or_else(PoisonError::into_inner);
                guest.handle(method.name(), &arguments).map_err(trapped)?;
            }
            anyhow::Ok(started.elapsed() / CALLS)
        };
        time(&self.cells[..1])?;
        Ok((time(&self.cells[..1])?, time(&self.cells)?))
    }

    pub(super) fn callers(
        &self,
        count: usize,
        method: Method,
        snapshot: bool,
    ) -> Result<Vec<CellCaller>> {
        let caller = CellCaller {
            cells: Arc::clone(&self.cells),
            queue: self.queue.clone(),
            method: method.name(),
            arguments: method.arguments()?,
            snapshot,
        };
        Ok(vec![caller; count])
    }

    pub(super) fn stop(self) {
        // Neither fails while the worker lives, and a worker that panicked has said so.
        let _ = self.queue.send(None);
        let _ = self.worker.join();
    }
}

fn work(cells: &[Cell], queue: &Sender<Visit>, runnable: &Receiver<Visit>) {
    while let Ok(Some(number)) = runnable.recv() {
        let more = cells[number].visit();
        if more && queue.send(Some(number)).is_err() {
            return;
        }
    }
}

impl Cell {
    /// Whether the cell has to be visited again.
    fn visit(&self) -> bool {
        let mut guest = self.guest.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ASKS_PER_VISIT {
            let Some(ask) = self.pop() else { return false };
            let mut answer = guest.handle(ask.method, &ask.arguments);
            if ask.snapshot && answer.is_ok() {
                answer = guest.snapshot().and(answer);
            }
            // Who has gone does not want an answer.
            let _ = ask.reply.send(answer);
        }
        true
    }

    /// True: the cell has to be put into the run-queue.
    fn push(&self, ask: Ask) -> bool {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        mailbox.asks.push_back(ask);
        !std::mem::replace(&mut mailbox.scheduled, true)
    }

    fn pop(&self) -> Option<Ask> {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = mailbox.asks.pop_front();
        mailbox.scheduled = ask.is_some();
        ask
    }
}

/// Asks cells.
#[derive(Clone)]
pub(super) struct CellCaller {
    cells: Arc<[Cell]>,
    queue: Sender<Visit>,
    method: &'static str,
    arguments: Vec<u8>,
    snapshot: bool,
}

impl Caller for CellCaller {
    async fn call(&mut self, entity: usize) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            method: self.method,
            arguments: self.arguments.clone(),
            snapshot: self.snapshot,
            reply,
        };
        if self.cells[entity].push(ask) {
            self.queue.send(Some(entity)).context("the worker ended")?;
        }
        let answer = answer.await.context("the worker ended")?;
        answer.map(drop).map_err(trapped)
    }
}

/// wasmtime's errors have a type of their own.
fn trapped(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("the floor's guest: {error:#}")
}
