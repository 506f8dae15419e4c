//! Makes room in memory, and writes what is only there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use entia_wasm::FREE_BYTES;

use super::activation::Activation;
use super::cell::Cell;
use super::{Cells, Shared};

/// Where the next search for idle entities begins.
static NEXT_MAP: AtomicUsize = AtomicUsize::new(0);

/// While too many entities are in memory, or have too much of it, passivates those that have been idle longest.
///
/// The maps take turns, so each call is short and what goes is the longest idle to within a map's share. Only for memory, of
/// which one entity may have a lot, are all of them looked at.
pub(super) fn make_room(shared: &Shared) {
    let count = shared.cells.count.load(Ordering::Relaxed);
    if let Some(over) = count.checked_sub(shared.options.activations_max + 1) {
        let all = |_: &Cell| true;
        make_room_in_one_map(shared, all, || false, over / Cells::MAPS + 1);
    }
    let enough = || shared.host.memory_bytes() <= shared.options.memory_bytes_high;
    let large = |cell: &Cell| cell.summary().memory_bytes > FREE_BYTES;
    for _ in 0..Cells::MAPS {
        if enough() {
            return;
        }
        make_room_in_one_map(shared, large, enough, usize::MAX);
    }
}

fn make_room_in_one_map(
    shared: &Shared,
    which: impl Fn(&Cell) -> bool,
    enough: impl Fn() -> bool,
    cells_max: usize,
) {
    let place = NEXT_MAP.fetch_add(1, Ordering::Relaxed) % Cells::MAPS;
    let mut idle: Vec<Arc<Cell>> = {
        let map = shared.cells.maps[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        map.values()
            .filter(|cell| cell.is_idle() && which(cell))
            .cloned()
            .collect()
    };
    idle.sort_by_key(|cell| cell.last_used());
    for cell in idle.into_iter().take(cells_max) {
        if enough() {
            return;
        }
        passivate(shared, &cell);
        remove_if_cold(shared, place, &cell);
    }
}

/// Passivates what has been idle for longer than it may.
pub(super) fn passivate_idle(shared: &Shared) {
    let idle_ms = u64::try_from(shared.options.idle.as_millis()).unwrap_or(u64::MAX);
    let Some(before_ms) = shared.now_ms().checked_sub(idle_ms) else {
        return;
    };
    for (place, map) in shared.cells.maps.iter().enumerate() {
        let idle: Vec<_> = {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            let long = |cell: &&Arc<Cell>| cell.last_used() <= before_ms && cell.is_idle();
            map.values().filter(long).cloned().collect()
        };
        for cell in idle {
            passivate(shared, &cell);
            remove_if_cold(shared, place, &cell);
        }
    }
}

/// Passivates everything, at shutdown, and waits until it is on disk.
pub(super) fn passivate_all(shared: &Shared) {
    for map in &shared.cells.maps {
        let cells: Vec<_> = {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            map.values().cloned().collect()
        };
        for cell in cells {
            let Some(mut activation) = cell.try_activation() else {
                continue;
            };
            if activation.waiting().is_some() {
                // Nobody waits for its turn any more.
                let was_live = activation.is_live();
                activation.give_up_waiting();
                shared.fibers.leave();
                shared.count_live(was_live, activation.is_live());
            }
            end_instance(shared, &cell, &mut activation);
        }
    }
}

/// Ends the instance of an entity that nobody has anything to do with. It was idle when it was found; since then it may have
/// been called, and its turn may wait.
fn passivate(shared: &Shared, cell: &Arc<Cell>) {
    if let Some(mut activation) = cell.try_activation()
        && cell.is_idle()
    {
        end_instance(shared, cell, &mut activation);
    }
}

/// Ends an entity's instance, writing first what the store does not have. One whose state cannot be written because the store
/// has failed stays: its memory is all there is.
fn end_instance(shared: &Shared, cell: &Arc<Cell>, activation: &mut Activation) {
    if cell.take_unwritten() {
        activation.set_dirty();
    }
    if activation.holds_more_than_the_store() && shared.store.failure().is_some() {
        return;
    }
    let was_live = activation.is_live();
    let passivated = activation
        .passivate(&shared.host, &cell.id)
        .or_else(|error| {
            tracing::warn!(entity = ?cell.id, "the entity could not be passivated: {error}");
            // What could not be saved is undone, as after any failed turn. What was saved before still has to be written.
            let _undone = activation.fail(&cell.id, error, super::now_ms());
            activation.passivate(&shared.host, &cell.id)
        });
    match passivated {
        Ok(Some(commit)) => cell.commit_memory(shared, commit),
        Ok(None) => {}
        Err(error) => {
            tracing::error!(entity = ?cell.id, "the entity's state was not written: {error}")
        }
    }
    shared.count_live(was_live, activation.is_live());
    if was_live && !activation.is_live() {
        shared.observed.counters.passivations.inc();
    }
    cell.show(&shared.observed, activation);
}

/// Removes a cell that holds nothing which the store does not know.
fn remove_if_cold(shared: &Shared, place: usize, cell: &Arc<Cell>) {
    let mut map = shared.cells.maps[place]
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let cold = cell.is_idle()
        && cell.try_activation().is_some_and(|activation| {
            !activation.is_live()
                && !activation.is_dirty()
                && !activation.awaits_delivery()
                && activation.quarantine.refusal(Instant::now()).is_none()
        });
    // Another cell may have its name by now: this one may have been removed, and its entity called again, since it was found.
    let same = map
        .get(&cell.id)
        .is_some_and(|found| Arc::ptr_eq(found, cell));
    if cold && same && map.remove(&cell.id).is_some() {
        shared.cells.count.fetch_sub(1, Ordering::Relaxed);
    }
}
