//! Groups of a real process that is killed or stopped while groups are in every state, and of one whose topics go away.
//!
//! Goal: members go on where they were, without a rebalance, whenever their generation or epoch was on record; what was under
//! way begins again from there; every acknowledged offset is there. Method: requests by hand, so that each group stands exactly
//! where it should when the process ends.

mod classic;
mod client;
mod consumer;
