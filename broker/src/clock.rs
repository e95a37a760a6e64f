//! Time as an argument: the one home of the wall clock and the monotonic clock.
