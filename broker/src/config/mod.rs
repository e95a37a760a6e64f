//! Every configuration key: one table row each, and how rows become settings.
