//! The ten deliberate bugs, one for each promise.

use super::invariant::Invariant;

/// A bug that a run is played with; it sits around the library, in a plugin, or in the adapter of the run, never in the
/// library itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Planted {
    /// The adapter takes "may have applied" for success.
    HopesForTheBest,
    /// The tracker refuses nothing.
    TrackerSleeps,
    /// Failover runs a lost call again, whatever became of it.
    RunsAgain,
    /// Host monitoring watches nothing.
    NobodyWatches,
    /// Failover calls every outcome *rolled back*.
    SaysRolledBack,
    /// Failover switches a session twice.
    SwitchesTwice,
    /// Host monitoring forgets every third wait that has ended.
    ForgetsToUnwatch,
    /// Failover asks every host on connections of its own, past the budget.
    OwnProbes,
    /// Session settings stay behind at a switch.
    DropsSettings,
    /// The adapter does not roll back a transaction that was dropped.
    LeavesTransactionOpen,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::HopesForTheBest,
        Self::TrackerSleeps,
        Self::RunsAgain,
        Self::NobodyWatches,
        Self::SaysRolledBack,
        Self::SwitchesTwice,
        Self::ForgetsToUnwatch,
        Self::OwnProbes,
        Self::DropsSettings,
        Self::LeavesTransactionOpen,
    ];

    /// The promise that it breaks.
    pub fn breaks(self) -> Invariant {
        match self {
            Self::HopesForTheBest => Invariant::NoLostWrite,
            Self::TrackerSleeps => Invariant::NoWriteToDemoted,
            Self::RunsAgain => Invariant::NeverTwice,
            Self::NobodyWatches => Invariant::EndsInTime,
            Self::SaysRolledBack => Invariant::OutcomeIsTrue,
            Self::SwitchesTwice => Invariant::OneFailover,
            Self::ForgetsToUnwatch => Invariant::NothingLeft,
            Self::OwnProbes => Invariant::Budget,
            Self::DropsSettings => Invariant::SettingsKept,
            Self::LeavesTransactionOpen => Invariant::CleanAfterCancel,
        }
    }

    /// The plugin that it sits in, when it sits in one.
    pub(super) fn plugin(self) -> Option<&'static str> {
        match self {
            Self::TrackerSleeps => Some("connection_tracker"),
            Self::RunsAgain | Self::SaysRolledBack | Self::SwitchesTwice | Self::OwnProbes => {
                Some("failover")
            }
            Self::NobodyWatches | Self::ForgetsToUnwatch => Some("efm"),
            Self::HopesForTheBest | Self::DropsSettings | Self::LeavesTransactionOpen => None,
        }
    }
}
