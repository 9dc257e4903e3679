//! All processes that come from one that the host started, also those that left its process group: found, and ended.
//!
//! On Linux a descendant is known by a mark in its environment, which it inherits whatever group or session it moves to, or
//! by its process group. A process that both cleared its environment and left the group is not found. On other Unix systems
//! only process groups are known, by their number alone.

use std::time::Duration;

/// Environment variable that marks every process started for a backend, and by inheritance all that come from it.
pub(crate) const MARK: &str = "VMCP_HOST_CHILD";

/// Between two looks at who is still there.
const LOOK: Duration = Duration::from_millis(25);
/// Longest wait for killed processes to vanish.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// A process group that the host started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Also the id of the process that leads it.
    pub(crate) id: i32,
    /// When the leader started, in the kernel's ticks since boot; tells it from a later process of the same id.
    pub(crate) started: Option<u64>,
}

/// Groups and the mark that their members carry.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// Value of [`MARK`], or the beginning of it.
    pub(crate) mark: String,
    pub(crate) groups: Vec<Group>,
}

impl Family {
    /// Ends all members: asks them, waits `patience`, then kills those that are left.
    pub(crate) async fn end(&self, patience: Duration) {
        if self.signal(Kind::Ask).await == 0 || self.vanish_within(patience).await {
            return;
        }
        let deadline = tokio::time::Instant::now() + KILL_PATIENCE;
        // Again and again, since a member may start another while we look.
        while self.signal(Kind::Kill).await > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn ask_to_end(&self) {
        self.signal(Kind::Ask).await;
    }

    pub(crate) async fn kill(&self) {
        self.signal(Kind::Kill).await;
    }

    async fn vanish_within(&self, patience: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + patience;
        while self.signal(Kind::Look).await > 0 {
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Reaches every member; how many there were.
    async fn signal(&self, kind: Kind) -> usize {
        let family = self.clone();
        // Reading the process table takes milliseconds on a busy machine.
        tokio::task::spawn_blocking(move || platform::signal(&family, kind)).await.unwrap_or(0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Look,
    Ask,
    Kill,
}

/// When the process `pid` started; `None` where the system does not tell.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    platform::start_time(pid)
}

#[cfg(target_os = "linux")]
mod platform {
    use rustix::process::{Pid, Signal, kill_process};

    use super::{Family, Kind, MARK};

    pub(super) fn signal(family: &Family, kind: Kind) -> usize {
        let members = members(family);
        let signal = match kind {
            Kind::Look => return members.len(),
            Kind::Ask => Signal::TERM,
            Kind::Kill => Signal::KILL,
        };
        for pid in members.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // It may have ended since we looked.
            let _ = kill_process(pid, signal);
        }
        members.len()
    }

    fn members(family: &Family) -> Vec<i32> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mark = format!("{MARK}={}", family.mark).into_bytes();
        // The leader of a group vouches for it; once it is gone, members are those that started after it.
        let leaders: Vec<_> =
            family.groups.iter().map(|group| (group, stat(group.id).map(|leader| leader.started))).collect();
        let is_in_group = |stat: &Stat| {
            leaders.iter().any(|(group, leader)| {
                group.id == stat.group
                    && match (group.started, leader) {
                        (Some(recorded), Some(now)) => recorded == *now,
                        (Some(recorded), None) => stat.started >= recorded,
                        (None, _) => true,
                    }
            })
        };
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| *pid != own)
            .filter(|pid| {
                stat(*pid).is_some_and(|stat| !stat.is_zombie && (is_in_group(&stat) || has_mark(*pid, &mark)))
            })
            .collect()
    }

    fn has_mark(pid: i32, mark: &[u8]) -> bool {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark))
    }

    struct Stat {
        is_zombie: bool,
        group: i32,
        started: u64,
    }

    /// `/proc/<pid>/stat`: the name stands in parentheses and may contain anything, so counting starts behind the last one.
    fn stat(pid: i32) -> Option<Stat> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Stat {
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    pub(super) fn start_time(pid: u32) -> Option<u64> {
        stat(i32::try_from(pid).ok()?).map(|stat| stat.started)
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod platform {
    use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

    use super::{Family, Kind};

    pub(super) fn signal(family: &Family, kind: Kind) -> usize {
        let groups = family.groups.iter().filter_map(|group| Pid::from_raw(group.id));
        groups
            .filter(|group| {
                let reached = match kind {
                    Kind::Look => test_kill_process_group(*group),
                    Kind::Ask => kill_process_group(*group, Signal::TERM),
                    Kind::Kill => kill_process_group(*group, Signal::KILL),
                };
                reached.is_ok()
            })
            .count()
    }

    pub(super) fn start_time(_pid: u32) -> Option<u64> {
        None
    }
}

#[cfg(not(unix))]
mod platform {
    use super::{Family, Kind};

    /// Processes here end with the handle that the host holds.
    pub(super) fn signal(_family: &Family, _kind: Kind) -> usize {
        0
    }

    pub(super) fn start_time(_pid: u32) -> Option<u64> {
        None
    }
}
