//! How the floors above hear of changes to the metadata.

use std::sync::Arc;

use super::image::{ImageDelta, MetadataImage};

/// Told of each change after it is durable and before it is visible: when the call returns, the new image is published and
/// then the change is answered. So a partition that is opened here takes the very next request, and none is ever named that
/// is not open.
///
/// The calls come one at a time, in the order of the changes. Nothing can be refused any more: a partition whose log cannot
/// be opened is the listener's to keep offline and to report.
pub trait TopicListener: Send + Sync {
    /// `delta.created` and the added partitions of `delta.altered` have empty folders to open a log in; the logs of
    /// `delta.removed` must be closed on return, since their folders are renamed next.
    fn on_metadata_change(&self, before: &MetadataImage, after: &Arc<MetadataImage>, delta: &ImageDelta);
}
