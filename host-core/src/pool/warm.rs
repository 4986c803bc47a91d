//! Instances that are made before calls need them.

use plugin_contract::Isolation;
use tokio::time::Instant;

use super::{Idle, Pool};
use crate::{CallBudget, CoreError, StoreData};

impl<T: StoreData> Pool<T> {
    /// Has so many instances there, as far as it may have them: the calls to come need not wait for theirs. No
    /// idle instance of another pool goes for it.
    ///
    /// # Errors
    /// Those of starting one.
    pub(crate) async fn warm_up(
        &self,
        instances: u32,
        budget: impl Fn() -> CallBudget,
    ) -> Result<(), CoreError> {
        let inner = &self.inner;
        if inner.config.keeps_state || inner.config.isolation == Isolation::PerCall {
            return Ok(());
        }
        let wanted = instances.min(inner.config.instances_max);
        for _ in 0..wanted {
            let Ok(permit) = inner.permits.clone().try_acquire_owned() else { break };
            // Calls make their own meanwhile. This permit is one of those that are busy.
            let status = self.status();
            if status.busy + status.idle > wanted {
                break;
            }
            let worker = self.make(&budget()).await?;
            if inner.permits.is_closed() {
                inner.goodbye(worker, permit);
                break;
            }
            inner.idle().push(Idle { worker, since: Instant::now() });
        }
        Ok(())
    }
}
