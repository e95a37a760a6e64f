//! The story of a full disk, on a disk in memory. The same one on a real file system is `tests/full_disk/run`.

use std::sync::Arc;

use anyhow::Result;
use ottla_broker::Broker;
use ottla_broker::storage::vfs::FaultVfs;
use ottla_tests::full_disk::{SmallDisk, play};

const DISK_BYTES: u64 = 24 << 20;
/// Less than a producer writes between two looks at the disk.
const RESERVE_BYTES: u64 = 2 << 20;

struct DiskInMemory(FaultVfs);

impl SmallDisk for DiskInMemory {
    fn free_bytes(&self) -> Result<u64> {
        Ok(DISK_BYTES.saturating_sub(self.0.used_bytes()))
    }

    fn take_all(&mut self) -> Result<()> {
        self.0.set_capacity(Some(self.0.used_bytes()));
        Ok(())
    }

    fn give_back(&mut self) -> Result<()> {
        self.0.set_capacity(Some(DISK_BYTES));
        Ok(())
    }
}

#[test]
fn a_full_disk_is_a_state_and_not_an_outage() -> Result<()> {
    let vfs = FaultVfs::new();
    vfs.set_capacity(Some(DISK_BYTES));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let broker = Broker::builder()
        .data_dir("/data")
        .listen("127.0.0.1:0")
        .vfs(Arc::new(vfs.clone()))
        .set("offsets.topic.num.partitions", "1")
        .set("log.reserve.bytes", RESERVE_BYTES.to_string());
    let broker = runtime.block_on(broker.start())?;
    let played = play(broker.addr(), &mut DiskInMemory(vfs), RESERVE_BYTES);
    let stopped = runtime.block_on(broker.stop());
    played?;
    Ok(stopped?)
}
