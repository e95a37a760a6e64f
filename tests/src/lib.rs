//! Harness, models and end-to-end tests of Ottla.
