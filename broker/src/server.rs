//! Wires the floors bottom-up, and stops them top-down.
