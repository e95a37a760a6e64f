//! Topics, ids, partitions and configs: a log of records, replayed into an immutable image.
