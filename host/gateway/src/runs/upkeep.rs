//! What has to be done for runs that nobody waits for.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use vmcp_core::with_cause;
use vmcp_workflow::{now, runs::Due};

use super::table::BY_OWNER;
use crate::gateway::Gateway;

/// How often it is looked whether a run's time has come, and whether one is to be cancelled.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
const SWEEP_PERIOD: Duration = Duration::from_mins(1);

/// Takes up the runs whose time has come, and those that a process left behind that is gone; for ever.
pub(crate) async fn keep_going(gateway: Arc<Gateway>) {
    // Their tools have to be there.
    if gateway.catalog().await.is_err() {
        return;
    }
    let mut last_sweep = None::<Instant>;
    loop {
        let store = &gateway.runs.store;
        let mut pause = LOOK_PERIOD;
        match store.due(now()).await {
            Ok(Due { runs, next }) => {
                if let Some(next) = next {
                    pause = pause.min(Duration::from_millis(next.saturating_sub(now())));
                }
                for run in runs {
                    if let Err(error) = gateway.claim(run, None).await {
                        debug!(%run, %error, "a run that was due is gone");
                    }
                }
            }
            Err(error) => warn!(error = with_cause(&error), "runs cannot be looked at"),
        }
        for run in store.to_cancel().await.unwrap_or_default() {
            if let Some(live) = gateway.runs.find(run) {
                gateway.runs.cancel(&live, BY_OWNER);
            }
        }
        if last_sweep.is_none_or(|at| at.elapsed() >= SWEEP_PERIOD) {
            last_sweep = Some(Instant::now());
            store.sweep(now());
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = gateway.runs.laid_aside.notified() => {}
        }
    }
}
