//! InitProducerId without a transactional id: every producer of every time gets an id of its own.
//!
//! Ids are reserved durably a block at a time before the first of them is handed out, so one sync serves a thousand
//! producers; what is left of a block is lost at a restart, never reused.

use super::controller::Controller;
use super::controller_error::ControllerError;
use super::metadata_record::MetadataRecord;
use crate::types::ProducerId;

/// Producer ids that are reserved at once.
pub const PRODUCER_ID_BLOCK: i64 = 1_000;

impl Controller {
    /// A producer id that was never handed out and never will be again.
    ///
    /// # Errors
    /// The metadata log fails, or all ids were handed out.
    pub fn allocate_producer_id(&self) -> Result<ProducerId, ControllerError> {
        let mut state = self.lock()?;
        if state.producer_ids.is_empty() {
            let mut plan = self.plan(&state);
            let start = plan.image.next_producer_id();
            let end = start.checked_add(PRODUCER_ID_BLOCK).ok_or(ControllerError::ProducerIdsExhausted)?;
            plan.add(MetadataRecord::ProducerIds { next_producer_id: end });
            self.commit(&mut state, plan)?;
            state.producer_ids = start..end;
        }
        let id = state.producer_ids.next().expect("an empty block was just replaced");
        Ok(ProducerId(id))
    }
}
