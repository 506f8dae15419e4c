//! I7: each idempotency key takes effect at most once within its window; a retry gets the same reply; the same key with other
//! arguments runs nothing.
//!
//! Each key of a run stands for one serial, and the oracle sees every serial that is at two places, every repetition that is
//! answered with another place, and every key that is called taken: see [`crate::oracle`] and [`crate::work`].
