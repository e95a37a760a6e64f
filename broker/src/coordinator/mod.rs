//! Coordinators: who owns which partition of a group, and how far a group has read.

pub(crate) mod group;
