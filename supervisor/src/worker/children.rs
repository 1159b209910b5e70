//! The actors of a worker, each as the supervisor starts it.
//!
//! **Not here**: their order, which is start order, crash scope and drain order (`worker.rs`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::alerts::{AlertsActor, AlertsArgs, RecentAlerts};
use actors::budget::Budget;
use actors::keys::Keys;
use actors::loader::{LoaderActor, LoaderArgs, LoaderConfig, LoaderMsg};
use actors::loading::Loading;
use actors::metrics::AlertFigures;
use actors::ports::leases::{Heartbeat, Home};
use actors::ports::stream::ShardInfo;
use actors::sensor::SensorRules;
use actors::sensors::LiveSensors;
use actors::shard::ShardContext;
use messages::HashRange;
use ractor::{ActorCell, ActorRef};
use tracing::warn;

use super::controls::LeasesAddress;
use super::start::claim_name;
use super::{WorkerConfig, WorkerError, WorkerPorts, directory};
use crate::leases::{LeaseFigures, LeasesActor, LeasesArgs};
use crate::owned::Owned;
use crate::protocol::LeasesMsg;
use crate::shard::{Shard, ShardPorts};
use crate::shards::{ShardsActor, ShardsArgs, drain_shards};
use crate::supervision::{ChildSpec, StartContext, StartError, Surroundings};

/// Which stream and bucket the worker is of, and what is known of the stream's keys.
type Place = (Arc<Home>, Keys);

pub(super) fn leases_child(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    (owned, figures, (home, keys)): (&Owned, &Arc<LeaseFigures>, &Place),
    address: &LeasesAddress,
    heartbeat: Heartbeat,
) -> ChildSpec {
    let (config, ports, home, keys) = (config.clone(), ports.clone(), home.clone(), keys.clone());
    let (owned, figures, address) = (owned.clone(), figures.clone(), address.clone());
    // The first incarnation has what was claimed at the start; the others claim again.
    let incarnation = heartbeat.row().incarnation.clone();
    let names = Arc::new(Mutex::new((Some(heartbeat), incarnation)));
    let start = move |context: StartContext| {
        let (config, ports, names) = (config.clone(), ports.clone(), names.clone());
        let (home, keys) = (home.clone(), keys.clone());
        let (owned, figures, address) = (owned.clone(), figures.clone(), address.clone());
        async move {
            let (claimed, mine) = {
                let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                (names.0.take(), names.1.clone())
            };
            let heartbeat = match claimed {
                Some(heartbeat) => heartbeat,
                None => claim_name(&config, &ports, Some(&mine)).await.map_err(|error| match error {
                    error @ WorkerError::Name(_) => StartError::is_final(error),
                    error => StartError::failed(error),
                })?,
            };
            names.lock().unwrap_or_else(PoisonError::into_inner).1 = heartbeat.row().incarnation.clone();
            let args = LeasesArgs {
                worker_id: config.worker_id.as_str().into(),
                heartbeat,
                table: ports.leases.clone(),
                home,
                stream: ports.stream.clone(),
                objects: ports.objects.clone(),
                keys,
                clock: ports.clock.clone(),
                faults: ports.faults.clone(),
                owned,
                figures,
                node: context.node.clone(),
            };
            let leases = context.spawn(LeasesActor { config: config.leases.clone() }, args).await?;
            address.set(ActorRef::from(leases.clone()));
            Ok(leases)
        }
    };
    ChildSpec::new("leases", "leases", start).draining_by(say_goodbye).needing(LAST_WORD)
}

async fn say_goodbye(leases: ActorCell, within: Duration) {
    // Out of time: the others find out by themselves.
    let _ = ActorRef::<LeasesMsg>::from(leases).call(LeasesMsg::Goodbye, Some(within)).await;
}

/// What a last word to the table may need: one call, with the most that it may take as it is shipped. What the shards
/// have read and not committed needs the rest.
const LAST_WORD: Duration = Duration::from_secs(5);

pub(super) fn shards_child(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    (owned, budget, place): (&Owned, &Budget, &Place),
    surroundings: Surroundings,
) -> ChildSpec {
    let rules = SensorRules::new(config.schema.clone(), config.event_ids_max).remembering(config.history_max);
    let rules = Arc::new(rules);
    let make: Arc<dyn Fn(ShardInfo, u64) -> Shard + Send + Sync> = {
        let (config, ports, place) = (config.clone(), ports.clone(), place.clone());
        let share = (budget.clone(), LiveSensors::new(config.shard.sensors.live_max));
        let owned = owned.clone();
        Arc::new(move |info, counter| shard((info, counter), &config, &ports, (&owned, &share, &place), &rules))
    };
    let (owned, config) = (owned.clone(), config.clone());
    // Its shards are killed, not waited for.
    let stop_timeout = config.supervisor.stop_timeout;
    let start = move |context: StartContext| {
        let (make, owned, surroundings) = (make.clone(), owned.clone(), surroundings.clone());
        let actor =
            ShardsActor { config: config.supervisor.clone(), surroundings, handover_timeout: config.handover_timeout };
        async move {
            let (alerts, leases) = (context.address("alerts")?, context.address("leases")?);
            let args = ShardsArgs { make, owned, alerts, leases, node: context.node.clone() };
            context.spawn(actor, args).await
        }
    };
    ChildSpec::new("shards", "shards", start).draining_by(drain_shards).stopping_within(stop_timeout)
}

fn shard(
    (info, counter): (ShardInfo, u64),
    config: &WorkerConfig,
    ports: &WorkerPorts,
    (owned, (budget, live), (home, keys)): (&Owned, &(Budget, LiveSensors), &Place),
    rules: &Arc<SensorRules>,
) -> Shard {
    let context = ShardContext {
        shard: info.shard.clone(),
        hash_range: hash_range(&info),
        stream: ports.stream.name().into(),
        origin: Arc::new(home.stream.clone()),
        keys: keys.clone(),
        schema: config.schema.clone(),
        clock: ports.clock.clone(),
        chance: ports.chance.clone(),
        work: ports.work,
        faults: ports.faults.clone(),
        figures: Arc::default(),
        progress: Arc::default(),
        outcome: owned.outcome(&info.shard),
        traces: ports.traces.of_shard(ports.stream.name(), info.shard.as_str()),
    };
    let ports = ShardPorts {
        stream: ports.stream.clone(),
        objects: ports.objects.clone(),
        leases: ports.leases.clone(),
        home: home.clone(),
        budget: budget.clone(),
        live: live.clone(),
        rules: rules.clone(),
        worker_id: config.worker_id.as_str().into(),
    };
    Shard::new(context, config.shard.clone(), ports, counter)
}

/// Without a range nothing is kept out: all of an aggregate is then read.
fn hash_range(info: &ShardInfo) -> HashRange {
    let (start, end) = &info.hash_range;
    HashRange::parse(start, end).unwrap_or_else(|error| {
        warn!(shard = %info.shard, %error, "the shard's hash range is unknown: aggregates are read whole");
        HashRange::FULL
    })
}

pub(super) fn alerts(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    figures: &Arc<AlertFigures>,
    recent: &Arc<RecentAlerts>,
) -> ChildSpec {
    let (config, transports, clock) = (config.alerts.clone(), ports.transports.clone(), ports.clock.clone());
    let (figures, recent, chance) = (figures.clone(), recent.clone(), ports.chance.clone());
    let (traces, patience) = (ports.traces.clone(), config.drain_timeout);
    let start = move |context: StartContext| {
        let args = AlertsArgs {
            transports: transports.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
            figures: figures.clone(),
            recent: recent.clone(),
            traces: traces.clone(),
            node: context.node.clone(),
        };
        let actor = AlertsActor { config: config.clone() };
        async move { context.spawn(actor, args).await }
    };
    let flush = move |alerts, within: Duration| directory::flush_alerts(alerts, within.min(patience));
    ChildSpec::new("alerts", "alerts", start).draining_by(flush).needing(patience)
}

pub(super) fn loader(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    (loading, loader): (Loading, LoaderConfig),
) -> ChildSpec {
    let (leases, chance, worker_id) = (ports.leases.clone(), ports.chance.clone(), config.worker_id.clone());
    let start = move |context: StartContext| {
        let args = LoaderArgs {
            worker_id: worker_id.as_str().into(),
            loading: loading.clone(),
            leases: leases.clone(),
            chance: chance.clone(),
            node: context.node.clone(),
        };
        let actor = LoaderActor { config: loader.clone() };
        async move { context.spawn(actor, args).await }
    };
    ChildSpec::new("loader", "loader", start).draining_by(let_another_load).needing(LAST_WORD)
}

async fn let_another_load(loader: ActorCell, within: Duration) {
    // Out of time: the others find out by themselves.
    let _ = ActorRef::<LoaderMsg>::from(loader).call(LoaderMsg::Goodbye, Some(within)).await;
}
