//! From the names that a resolver would like to names that are unique.

use std::collections::{HashMap, hash_map::Entry};

use super::{Contender, Decision, Request, Resolution};

/// Who gets a name that several contenders are to be exposed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// The first in order; the others are hidden.
    FirstKeeps,
    /// Nobody, if they are of different backends. Of one backend the first keeps it.
    NobodyKeeps,
}

impl Request {
    /// `proposed` with no name exposed twice: `tie` decides who of several keeps it, the others are hidden with a reason.
    ///
    /// - `proposed`: one per contender, in the same order
    pub fn settle(&self, mut proposed: Vec<Resolution>, tie: Tie) -> Vec<Resolution> {
        let mut hidden: Vec<(usize, String)> = Vec::new();
        let mut claims: HashMap<&str, Claim> = HashMap::with_capacity(proposed.len());
        for (index, (contender, resolution)) in self.contenders.iter().zip(&proposed).enumerate() {
            let Decision::Expose(name) = &resolution.decision else { continue };
            match claims.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(Claim { first: index, disputed: false });
                }
                Entry::Occupied(mut taken) => {
                    let first = &self.contenders[taken.get().first];
                    hidden.push((index, lost_to(first, contender, name)));
                    if tie == Tie::NobodyKeeps && first.backend != contender.backend && !taken.get().disputed {
                        taken.get_mut().disputed = true;
                        hidden.push((taken.get().first, lost_to(contender, first, name)));
                    }
                }
            }
        }
        for (index, why) in hidden {
            proposed[index] = Resolution::hide(why);
        }
        proposed
    }

    /// Every contender under its own name, the first in order where several have it. What resources and templates need:
    /// their names are addresses.
    pub fn keep_names(&self) -> Vec<Resolution> {
        let own = self.contenders.iter().map(|contender| Resolution::expose(contender.name.clone(), "its own name"));
        self.settle(own.collect(), Tie::FirstKeeps)
    }
}

struct Claim {
    first: usize,
    disputed: bool,
}

fn lost_to(winner: &Contender, loser: &Contender, name: &str) -> String {
    if winner.backend == loser.backend {
        format!("another one of this backend is `{name}`")
    } else {
        format!("{} has `{name}`", winner.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict::{Kind, NameRule};

    fn check(contenders: &[(&str, &str)], tie: Tie, expected: &[&str]) {
        let contenders = contenders.iter().map(|(backend, name)| Contender::new(*backend, *name)).collect();
        let request = Request { kind: Kind::Tool, names: NameRule::Strict, contenders };
        let proposed = request.contenders.iter().map(|c| Resolution::expose(c.name.clone(), "")).collect();
        let settled = request.settle(proposed, tie);
        let shown: Vec<String> = settled.iter().map(|r| r.name().map_or(format!("({})", r.why), Into::into)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_first_in_order_keeps_a_name() {
        check(&[("a", "x"), ("b", "x"), ("b", "y")], Tie::FirstKeeps, &["x", "(a has `x`)", "y"]);
        check(&[("a", "x"), ("a", "x")], Tie::FirstKeeps, &["x", "(another one of this backend is `x`)"]);
    }

    #[test]
    fn a_disputed_name_goes_to_nobody() {
        check(&[("a", "x"), ("b", "x"), ("b", "y")], Tie::NobodyKeeps, &["(b has `x`)", "(a has `x`)", "y"]);
        check(&[("a", "x"), ("a", "x")], Tie::NobodyKeeps, &["x", "(another one of this backend is `x`)"]);
        check(
            &[("a", "x"), ("a", "x"), ("b", "x"), ("c", "x")],
            Tie::NobodyKeeps,
            &["(b has `x`)", "(another one of this backend is `x`)", "(a has `x`)", "(a has `x`)"],
        );
    }
}
