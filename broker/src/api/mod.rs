//! One file per API: a decoded request becomes a decoded response.
