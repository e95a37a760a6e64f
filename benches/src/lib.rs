//! Benchmarks of Ottla: rooflines, the append path, produce and fetch, latency, memory.
