//! The safety mechanisms that a mutant can lack, so that chaos tests can be shown to notice.

macro_rules! mechanisms {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A mechanism without which some promise does not hold. Each has its place in the code, where it is asked
        /// whether it is switched off; a build without the feature `fault-points` never asks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mechanism {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Mechanism {
            /// Every mechanism.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name of the mutant that lacks it.
            pub fn mutant(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The mechanism that this mutant lacks.
            pub fn of_mutant(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|mechanism| mechanism.mutant() == name)
            }
        }
    };
}

mechanisms! {
    /// The end and content of an epoch are pinned before anything is uploaded.
    Prepare = "no-prepare",
    /// A pinned epoch is finished as it was pinned before anything else is read.
    FinishPinned = "pinned-epoch-ignored",
    /// The checkpoint moves when all objects are stored.
    CommitLast = "commit-before-upload",
    /// States are written anew before they are so old that a lifecycle rule takes them.
    StatesRefreshed = "idle-shard-not-refreshed",
    /// What is written anew are the states of all sensors.
    RefreshIsWhole = "refresh-is-a-delta",
    /// A child without records writes what its parents have left.
    ChildLeansOff = "child-leans-on-its-parents",
    /// A failed upload stops the epoch.
    UploadsCount = "failed-upload-skipped",
    /// Objects are created, never replaced.
    CreateOnly = "no-if-none-match",
    /// An object that is there with the same content is success.
    SameIsSuccess = "exists-is-failure",
    /// A conflict of two uploads is no success: it is tried again.
    ConflictIsNoSuccess = "conflict-is-success",
    /// The manifest is uploaded after everything that it names.
    ManifestLast = "manifest-first",
    /// Reading goes on after the checkpoint, not at it.
    AfterCheckpoint = "reads-at-checkpoint",
    /// A child shard is read from its beginning.
    ChildFromStart = "child-at-latest",
    /// A child shard waits for all its parents.
    AllParents = "child-after-one-parent",
    /// A child shard begins with its parents' states.
    ParentStates = "child-without-states",
    /// A child shard counts windows anew, and leaves to its parents what they have counted.
    WindowsStay = "child-takes-windows-over",
    /// A merged shard begins with the states of both parents.
    BothParentStates = "child-with-one-parents-states",
    /// A shard without records has an end too.
    EmptyShardEnds = "empty-shard-never-ends",
    /// A restarted sensor begins with its state.
    SensorState = "sensor-restarts-empty",
    /// Writes of a lease are on condition that nobody else wrote.
    LeaseCondition = "no-lease-condition",
    /// After a failed condition the nonce tells whether it was our own write.
    NonceReadBack = "failed-condition-is-lost",
    /// Only a lease whose owner is silent, or that has none, is taken.
    OnlyDeadOwners = "takes-from-the-living",
    /// A worker whose heartbeat is not written stops working.
    SelfFence = "no-self-fence",
    /// The silence of a worker is counted from the answer of one look to the question of a later one.
    SilenceFromAnswer = "slow-look-is-silence",
    /// A shard that makes no progress is given up.
    ProgressWatch = "hung-shard-kept",
    /// The stream is asked whether it heeds keys.
    StrategyAsked = "strategy-not-asked",
    /// Sensors that come in two open shards are looked for.
    SamplesCompared = "samples-not-compared",
    /// What was known of keys when a pinned epoch began is pinned with it.
    PinnedKeys = "pinned-keys-judged-anew",
    /// A row is held against the manifests in the bucket before its shard is read.
    ManifestsSeen = "manifests-not-looked-at",
    /// A table or row of another stream is refused.
    RowIsOurs = "row-of-another-stream-believed",
    /// The number of an epoch is claimed before any of it can be seen, and nothing else is in its names.
    EpochClaimed = "no-claim-on-the-number",
    /// The state object is part of the epoch.
    StateWithEpoch = "state-chain-stale",
}
