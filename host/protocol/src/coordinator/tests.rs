//! Stories of the coordinator. The regions are played by [`town::Town`], the control log is a list that applies what is proposed.

mod changes;
mod daemons;
mod drains;
mod faults;
mod takeovers;
mod town;
