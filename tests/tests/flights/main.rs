//! Goal: real data makes the whole way, from a file through our producer, the broker and the disk, back to our consumer; also when the
//! broker is killed in the middle. Method: the 27,004 flights of January 2013, in six partitions by tail number, their scheduled
//! hour as timestamp; what is read back is compared with the file, and every expectation is worked out from the file alone.

mod compacted;
mod january;
mod kill;
mod month;
