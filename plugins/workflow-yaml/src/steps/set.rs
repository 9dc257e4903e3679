//! Steps by their place in a list, as bits.

/// Some steps of one list, which has at most `MAX_STEPS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepSet(u128);

impl StepSet {
    pub(crate) fn of(index: usize) -> Self {
        Self(1 << index)
    }

    pub(crate) fn contains(self, index: usize) -> bool {
        self.covers(Self::of(index))
    }

    pub(crate) fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}
