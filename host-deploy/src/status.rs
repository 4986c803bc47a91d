//! Where a version stands, and what may happen to it there.
//!
//! | status       | `stage`    | `approve` | `start-canary` | `activate` | `promote` | `withdraw` | `reject` | `supersede`  | `restore` | `fail`   |
//! |--------------|------------|-----------|----------------|------------|-----------|------------|----------|--------------|-----------|----------|
//! | (none)       | staged     |           |                |            |           |            |          |              |           |          |
//! | `staged`     |            | staged    | canary         | active     |           |            |          |              |           | failed   |
//! | `canary`     |            |           |                |            | active    | staged     | failed   |              |           |          |
//! | `active`     |            |           |                |            |           |            |          | deprecated   |           |          |
//! | `deprecated` |            |           | canary         |            |           |            |          |              | active    | failed   |
//! | `failed`     | staged     |           |                |            |           |            |          |              | active    |          |
//!
//! An empty cell is a transition that is refused. Not here: what else must hold for a step, such as that
//! there is something to compare a canary with ([`Deployment`](crate::Deployment)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Deployed and checked; answers no calls.
    Staged,
    /// Answers a share of the calls, and is watched.
    Canary,
    /// Answers the calls.
    Active,
    /// Was active, and can be again.
    Deprecated,
    /// Was found wanting: by a check, by its calls, or by whoever tried to start it.
    Failed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Staged, Self::Canary, Self::Active, Self::Deprecated, Self::Failed];

    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Canary => "canary",
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What happens to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It is deployed: for the first time, or once more after it had failed.
    Stage,
    /// An operator agrees to what it asks for beyond the version before it.
    Approve,
    /// It gets a share of the calls.
    StartCanary,
    /// It gets all calls, without having been a canary.
    Activate,
    /// The canary gets all calls.
    Promote,
    /// An operator takes the canary back.
    Withdraw,
    /// The canary was found to do harm.
    Reject,
    /// Another version became active.
    Supersede,
    /// It becomes active once more.
    Restore,
    /// It could not be started.
    Fail,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Stage,
        Self::Approve,
        Self::StartCanary,
        Self::Activate,
        Self::Promote,
        Self::Withdraw,
        Self::Reject,
        Self::Supersede,
        Self::Restore,
        Self::Fail,
    ];

    /// In a word or two.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Approve => "approve",
            Self::StartCanary => "start-canary",
            Self::Activate => "activate",
            Self::Promote => "promote",
            Self::Withdraw => "withdraw",
            Self::Reject => "reject",
            Self::Supersede => "supersede",
            Self::Restore => "restore",
            Self::Fail => "fail",
        }
    }

    /// Where it leads from `status`, or from nothing; `None` if it may not happen there.
    pub const fn leads(self, status: Option<Status>) -> Option<Status> {
        use Status::{Active, Canary, Deprecated, Failed, Staged};
        match (status, self) {
            (None | Some(Failed), Self::Stage) => Some(Staged),
            (Some(Staged), Self::Approve) => Some(Staged),
            (Some(Staged | Deprecated), Self::StartCanary) => Some(Canary),
            (Some(Staged), Self::Activate) => Some(Active),
            (Some(Canary), Self::Promote) => Some(Active),
            (Some(Canary), Self::Withdraw) => Some(Staged),
            (Some(Canary), Self::Reject) => Some(Failed),
            (Some(Active), Self::Supersede) => Some(Deprecated),
            // Whoever rolls back knows what they want, even if it is a version that once failed.
            (Some(Deprecated | Failed), Self::Restore) => Some(Active),
            (Some(Staged | Deprecated), Self::Fail) => Some(Failed),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Status};

    /// Every cell of the table above, read from its very text.
    #[test]
    fn every_pair_of_status_and_event_is_as_the_table_says() {
        let text = include_str!("status.rs");
        let cells = |line: &str| -> Vec<String> {
            let cells = line.trim_start_matches("//!").trim().trim_matches('|').split('|');
            cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        };
        let mut lines = text.lines().filter(|line| line.starts_with("//! | ")).map(cells);
        let head = lines.next().unwrap();
        assert_eq!(head[1..], Event::ALL.map(|event| event.name().to_owned()));
        let mut rows = 0;
        for (line, status) in lines.zip([None].into_iter().chain(Status::ALL.map(Some))) {
            assert_eq!(line[0], status.map_or("(none)", Status::name));
            for (cell, event) in line[1..].iter().zip(Event::ALL) {
                let leads = event.leads(status).map_or("", Status::name);
                assert_eq!(leads, cell, "{event} at {status:?}");
            }
            rows += 1;
        }
        assert_eq!(rows, 6);
    }
}
