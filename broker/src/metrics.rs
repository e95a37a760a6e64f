//! Counters of the broker, declared once and read by whoever reports them.
