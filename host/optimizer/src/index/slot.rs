//! Places of documents in the index, sets of them, and the best of them.

use std::cmp::Ordering;

/// A document's place; the id of its candidate in a ranking. Means the same only within one [`Reader`](super::Reader).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }

    /// The slot at `position`; an index has fewer than 2^32 of them.
    pub(crate) fn from_position(position: usize) -> Self {
        Self(u32::try_from(position).expect("an index has fewer than 2^32 slots"))
    }
}

/// A document that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    pub slot: Slot,
    pub score: f64,
}

/// Which documents a search may find.
#[derive(Clone, Debug)]
pub enum Visible {
    All,
    Only(SlotSet),
}

impl Visible {
    pub fn contains(&self, slot: Slot) -> bool {
        match self {
            Self::All => true,
            Self::Only(slots) => slots.contains(slot),
        }
    }
}

/// A set of slots, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSet(Vec<u64>);

impl SlotSet {
    pub fn insert(&mut self, slot: Slot) {
        let word = slot.at() / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (slot.0 % 64);
    }

    pub fn contains(&self, slot: Slot) -> bool {
        self.0.get(slot.at() / 64).is_some_and(|word| word >> (slot.0 % 64) & 1 == 1)
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

/// Keeps the best of many scores that are offered by ascending slot: more is better, of equal ones the lower slot.
pub(super) struct Best {
    pool: usize,
    /// Up to twice the pool, so that sorting out is rare.
    found: Vec<Scored>,
    /// A score must be above this to count.
    floor: f64,
}

impl Best {
    /// `floor`: scores up to it never count.
    pub(super) fn new(pool: usize, floor: f64) -> Self {
        // Without a pool nothing may come in, and `floor` is all that is looked at.
        let floor = if pool == 0 { f64::INFINITY } else { floor };
        Self { pool, found: Vec::new(), floor }
    }

    /// Whether a document of this score would be kept: worth asking before anything costlier.
    #[inline]
    pub(super) fn wants(&self, score: f64) -> bool {
        score > self.floor
    }

    pub(super) fn add(&mut self, slot: Slot, score: f64) {
        self.found.push(Scored { slot, score });
        if self.found.len() >= self.pool.saturating_mul(2) {
            self.found.select_nth_unstable_by(self.pool - 1, by_score);
            self.found.truncate(self.pool);
            // Later ones have higher slots, so a tie with the last one loses.
            self.floor = self.found[self.pool - 1].score;
        }
    }

    /// Best first.
    pub(super) fn into_sorted(mut self) -> Vec<Scored> {
        self.found.sort_unstable_by(by_score);
        self.found.truncate(self.pool);
        self.found
    }
}

/// Best first; ties by slot.
pub(super) fn by_score(a: &Scored, b: &Scored) -> Ordering {
    b.score.total_cmp(&a.score).then(a.slot.cmp(&b.slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order() {
        let check = |scores: &[f64], pool: usize, expected: &[u32]| {
            let mut best = Best::new(pool, 0.0);
            for (slot, score) in scores.iter().enumerate() {
                if best.wants(*score) {
                    best.add(Slot::from_position(slot), *score);
                }
            }
            let slots: Vec<u32> = best.into_sorted().iter().map(|scored| scored.slot.0).collect();
            assert_eq!(slots, expected, "{scores:?} {pool}");
        };
        check(&[], 3, &[]);
        check(&[1.0, 2.0], 0, &[]);
        check(&[0.0, 1.0, -1.0], 3, &[1]);
        check(&[1.0, 3.0, 2.0], 2, &[1, 2]);
        check(&[1.0, 1.0, 1.0, 1.0, 2.0, 1.0], 2, &[4, 0]);
        let many: Vec<f64> = (0..1000).map(|n| f64::from(n * 7 % 1000) + 1.0).collect();
        check(&many, 3, &[857, 714, 571]);
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set: SlotSet = [0, 63, 64, 1000].map(Slot).into_iter().collect();
        let inside: Vec<u32> = (0..2000).filter(|n| set.contains(Slot(*n))).collect();
        assert_eq!((inside, set.len(), set.is_empty()), (vec![0, 63, 64, 1000], 4, false));
        assert!(SlotSet::default().is_empty());
    }
}
