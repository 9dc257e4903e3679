//! How much of an answer fits a budget of tokens: what a model pays for tools is not their number.

use std::collections::HashMap;

/// Tokens that a model may spend on a search, the definitions of `find_tool` and `call_tool` and the whole answer included.
pub const BUDGETS: [u64; 3] = [500, 1_000, 2_000];

/// Knows what an answer costs.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Tokens of the definitions and of an answer without tools.
    pub fixed: u64,
    /// Tokens of each tool as an answer lists it, by id.
    pub tools: HashMap<String, u64>,
}

impl Meter {
    /// How many of `found` fit each of [`BUDGETS`]: a tool fits when the answer up to and including it does.
    ///
    /// What stands between two tools is counted as one token.
    pub(super) fn fitting(&self, found: &[String]) -> [usize; BUDGETS.len()] {
        BUDGETS.map(|budget| {
            let mut spent = self.fixed;
            let costs = found.iter().enumerate().map(|(index, id)| {
                let separator = u64::from(index > 0);
                self.tools.get(id).copied().unwrap_or_default() + separator
            });
            costs
                .take_while(|cost| {
                    spent += cost;
                    spent <= budget
                })
                .count()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_fits_when_the_answer_up_to_it_does() {
        let check = |fixed: u64, costs: &[u64], expected: [usize; 3]| {
            let named = || costs.iter().enumerate().map(|(index, cost)| (index.to_string(), *cost));
            let meter = Meter { fixed, tools: named().collect() };
            let found: Vec<_> = named().map(|(id, _)| id).collect();
            assert_eq!(meter.fitting(&found), expected, "{fixed} {costs:?}");
        };
        check(300, &[], [0, 0, 0]);
        check(300, &[200, 100], [1, 2, 2]);
        check(300, &[201, 100], [0, 2, 2]);
        // With the separator the second needs 501.
        check(300, &[100, 100], [1, 2, 2]);
        check(300, &[100, 99], [2, 2, 2]);
        // A small one behind one that does not fit is not reached.
        check(300, &[900, 10], [0, 0, 2]);
        check(600, &[10], [0, 1, 1]);
    }
}
