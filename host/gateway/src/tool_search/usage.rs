//! How tools are used: calls and failures of the last day, and when the last one was. A ranking may want to know.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use vmcp_core::ranking::Usage;

const HOUR: Duration = Duration::from_hours(1);
const HOURS: usize = 24;

/// The use of every tool that was called since the host started.
pub(super) struct UsageLog {
    began: Instant,
    tools: Mutex<HashMap<Arc<str>, Day>>,
}

/// Counts per hour, round and round.
#[derive(Clone, Copy)]
struct Day {
    calls: [u32; HOURS],
    failures: [u32; HOURS],
    /// Hours since the start that the counts go up to.
    hour: u64,
    last: Instant,
}

impl Default for UsageLog {
    fn default() -> Self {
        Self { began: Instant::now(), tools: Mutex::default() }
    }
}

impl UsageLog {
    pub(super) fn note(&self, name: &Arc<str>, failed: bool) {
        self.note_at(name, failed, Instant::now());
    }

    pub(super) fn of(&self, name: &str) -> Usage {
        self.of_at(name, Instant::now())
    }

    fn note_at(&self, name: &Arc<str>, failed: bool, now: Instant) {
        let hour = self.hour(now);
        let mut tools = self.tools.lock().expect("no panic while locked");
        let new = || Day { calls: [0; HOURS], failures: [0; HOURS], hour, last: now };
        let day = tools.entry(name.clone()).or_insert_with(new);
        day.advance(hour);
        let slot = slot(hour);
        day.calls[slot] = day.calls[slot].saturating_add(1);
        day.failures[slot] = day.failures[slot].saturating_add(u32::from(failed));
        day.last = now;
    }

    fn of_at(&self, name: &str, now: Instant) -> Usage {
        let Some(mut day) = self.tools.lock().expect("no panic while locked").get(name).copied() else {
            return Usage::default();
        };
        day.advance(self.hour(now));
        let sum = |counts: &[u32; HOURS]| counts.iter().fold(0, |sum: u32, count| sum.saturating_add(*count));
        Usage {
            calls: sum(&day.calls),
            failures: sum(&day.failures),
            idle: Some(now.saturating_duration_since(day.last)),
        }
    }

    fn hour(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / HOUR.as_secs()
    }
}

impl Day {
    /// Clears the hours that have come round since.
    fn advance(&mut self, hour: u64) {
        let passed = hour.saturating_sub(self.hour).min(HOURS as u64);
        for ahead in 1..=passed {
            let slot = slot(self.hour + ahead);
            (self.calls[slot], self.failures[slot]) = (0, 0);
        }
        self.hour = self.hour.max(hour);
    }
}

fn slot(hour: u64) -> usize {
    usize::try_from(hour % HOURS as u64).expect("below 24")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_last_day() {
        let log = UsageLog::default();
        let name: Arc<str> = "read_file".into();
        let at = |hours: u32| log.began + HOUR * hours;
        assert_eq!(log.of_at("read_file", at(0)), Usage::default());
        log.note_at(&name, false, at(0));
        log.note_at(&name, true, at(0));
        log.note_at(&name, false, at(5));
        let usage = |calls, failures, idle: u32| Usage { calls, failures, idle: Some(HOUR * idle) };
        assert_eq!(log.of_at("read_file", at(5)), usage(3, 1, 0));
        assert_eq!(log.of_at("read_file", at(23)), usage(3, 1, 18));
        assert_eq!(log.of_at("read_file", at(24)), usage(1, 0, 19));
        assert_eq!(log.of_at("read_file", at(500)), usage(0, 0, 495));
        log.note_at(&name, false, at(500));
        assert_eq!(log.of_at("read_file", at(500)), usage(1, 0, 0));
    }
}
