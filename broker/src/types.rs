//! Newtypes for every number that can be confused: offsets, epochs, producer ids.
