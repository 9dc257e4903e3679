//! One ranking per feature, most of them wrong in their own way. What is not wrong is relative score fusion.

use std::cell::{Cell, RefCell};

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::ranking::{
    Arm, Findings, Fusion, Plan, Query, Ranked, RankingError, RankingStrategy, Subquery, dense_share, min_max,
};

const POOL: u32 = 100;

/// Takes any config, so that a test can put it in the place of any other ranking.
#[derive(Debug, Deserialize, JsonSchema)]
struct Ranking {
    /// Counts what this instance was asked.
    #[serde(skip)]
    asked: Cell<u32>,
    #[serde(skip)]
    held: RefCell<Vec<Vec<u8>>>,
}

impl RankingStrategy for Ranking {
    fn plan(&self, query: &Query) -> Result<Plan, RankingError> {
        self.asked.set(self.asked.get() + 1);
        if cfg!(feature = "plan-loops") {
            compute_for_ever();
        }
        if cfg!(feature = "rank-allocates-in-both") {
            self.hold_40_mib();
        }
        let subquery = Subquery::new(0, query.terms(), &query.text, POOL);
        let count = if cfg!(feature = "plan-too-large") { 33 } else { 1 };
        Ok(Plan::new((0..count).map(|id| Subquery { id, ..subquery.clone() })))
    }

    fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError> {
        self.asked.set(self.asked.get() + 1);
        if cfg!(feature = "rank-loops") {
            compute_for_ever();
        }
        if cfg!(feature = "rank-allocates") {
            loop {
                self.hold_40_mib();
            }
        }
        if cfg!(feature = "rank-allocates-in-both") {
            self.hold_40_mib();
        }
        if cfg!(feature = "rank-panics") {
            panic!("this ranking always panics");
        }
        let mut ranked = honest(query, findings);
        for one in &mut ranked {
            if cfg!(feature = "rank-remembers") {
                one.why = format!("asked {} times", self.asked.get());
            }
            if cfg!(feature = "marked-ranking") {
                one.why = format!("MARK {}", one.why);
            }
        }
        if cfg!(feature = "rank-repeats") {
            ranked.extend(ranked.first().cloned());
        }
        if cfg!(feature = "rank-unknown")
            && let Some(first) = ranked.first_mut()
        {
            first.id = u32::MAX;
        }
        Ok(ranked)
    }
}

impl Ranking {
    fn hold_40_mib(&self) {
        self.held.borrow_mut().push(vec![1; 40 << 20]);
    }
}

fn honest(query: &Query, findings: &Findings) -> Vec<Ranked> {
    let dense = dense_share(query, findings, 0.4);
    let mut fusion = Fusion::new(findings);
    for (weight, arm) in [(1.0 - dense, Arm::Lexical), (dense, Arm::Dense)] {
        fusion.add(weight, &min_max(&findings.list(arm, |_| true), POOL as usize));
    }
    fusion.into_ranked(query)
}

fn compute_for_ever() -> ! {
    loop {
        std::hint::black_box(());
    }
}

#[cfg(not(feature = "both"))]
vmcp_sdk::register_ranking_strategy!(Ranking);

#[cfg(feature = "both")]
mod resolver {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use vmcp_sdk::conflict::{ConflictResolver, Request, Resolution, ResolveError};

    /// Leaves every name as it is.
    #[derive(Debug, Deserialize, JsonSchema)]
    pub(super) struct Resolver {}

    impl ConflictResolver for Resolver {
        fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
            Ok(request.keep_names())
        }
    }
}

#[cfg(feature = "both")]
vmcp_sdk::register_component! {
    conflict_resolver: resolver::Resolver,
    ranking_strategy: Ranking,
}
