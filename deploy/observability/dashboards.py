#!/usr/bin/env python3
"""Grafana dashboards as code: prints or writes dashboards/*.json.

    dashboards.py            writes the files
    dashboards.py --check    fails if a file is not what would be written

Every query is Prometheus' own language with three variables: $datasource, $namespace and $instance.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Grafana's grid is 24 columns wide.
COLUMNS = 24
# What every query is narrowed by. Outside of Kubernetes there is no namespace: the variable then matches all.
MINE = 'job="mangrove", namespace=~"$namespace", instance=~"$instance"'
RATE = "$__rate_interval"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def of(metric, labels=""):
    """The metric, narrowed by the variables and by further labels."""
    return f"{metric}{{{MINE}{', ' if labels else ''}{labels}}}"


def rate(metric, by="", labels=""):
    """Events a second, summed by labels."""
    return f"sum by ({by}) (rate({of(metric, labels)}[{RATE}]))"


def quantile(q, metric, by="", labels=""):
    """A quantile of a histogram."""
    return f"histogram_quantile({q}, {rate(metric + '_bucket', 'le' + (', ' + by if by else ''), labels)})"


def target(expr, legend="", **more):
    return {"expr": expr, "legendFormat": legend or "__auto", "datasource": DATASOURCE, **more}


def panel(kind, title, description, targets, unit="short", width=12, height=8, **field):
    targets = [targets] if isinstance(targets, dict) else targets
    options = {
        "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "stat": {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}},
        "table": {"showHeader": True},
        "heatmap": {"calculate": False, "yAxis": {"unit": unit}, "color": {"mode": "scheme", "scheme": "Oranges"}},
    }[kind]
    custom = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"} if kind == "timeseries" else {}
    custom.update(field.pop("custom", {}))
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": [{**t, "refId": chr(ord("A") + n)} for n, t in enumerate(targets)],
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom, **field}, "overrides": []},
        "options": options,
        "gridPos": {"w": width, "h": height},
    }


def lines(title, description, targets, unit="short", **more):
    return panel("timeseries", title, description, targets, unit, **more)


def stat(title, description, expr, unit="short", bad_above=None, bad_below=None):
    """One number, coloured by colour-blind safe thresholds."""
    steps = [{"color": "blue", "value": None}]
    if bad_above is not None:
        steps.append({"color": "orange", "value": bad_above})
    if bad_below is not None:
        steps = [{"color": "orange", "value": None}, {"color": "blue", "value": bad_below}]
    return panel("stat", title, description, target(expr), unit, width=4, height=4,
                 thresholds={"mode": "absolute", "steps": steps})


def heatmap(title, description, metric):
    return panel("heatmap", title, description,
                 target(f"sum by (le) (increase({of(metric + '_bucket')}[{RATE}]))", "{{le}}", format="heatmap"), "s")


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": COLUMNS, "h": 1}}


def quantiles(metric):
    return [target(quantile(q, metric), f"p{round(q * 100)}") for q in (0.5, 0.9, 0.99)]


def share(part, whole):
    return f"{part} / {whole}"


# A worker that loads no longer keeps the lag of its last batch: only the active one's counts.
LOADED_LAG = f"max({of('mangrove_warehouse_lag_ms')} and on (namespace, job, instance) {of('mangrove_warehouse_active')} == 1)"

OVERVIEW = [
    stat("Workers", "Workers that answer their scrapes.", f"sum({of('up')})", bad_below=1),
    stat("Not ready", "Workers whose /readyz says no: it names the reason.", f"count({of('mangrove_worker_ready')} == 0) or vector(0)", bad_above=1),
    stat("Shards owned", "Shards that some worker works on.", f"sum({of('mangrove_shards_owned')})", bad_below=1),
    stat("Shards without owner", "As the best informed worker sees it. Above 0 for longer than a hand-over: nobody reads them.",
         f"min({of('mangrove_shards_unowned')})", bad_above=1),
    stat("Furthest behind", "The largest lag of any shard.", f"max({of('mangrove_shard_lag_ms')})", "ms", bad_above=60000),
    stat("Restarts, 1 h", "Restarts of actors in the last hour; single sensors are not counted.",
         f"sum(increase({of('mangrove_actor_restarts_total')}[1h]))", bad_above=3),
    row("Flow: stream to lake to warehouse"),
    lines("Records and readings", "Records read from the stream, and readings that became visible, by what became of them.", [
        target(rate("mangrove_reader_records_total"), "records read"),
        target(rate("mangrove_readings_total", "outcome"), "{{outcome}}"),
    ], "cps"),
    lines("Lag", "How far behind the tip each worker's slowest shard is, and the warehouse.", [
        target(f"max by (instance) ({of('mangrove_shard_lag_ms')})", "{{instance}}"),
        target(LOADED_LAG, "warehouse"),
    ], "ms"),
    lines("How long it takes, p99", "From a record's arrival in the stream. Alerts leave before anything is stored; S3 includes epoch.age_max.", [
        target(quantile(0.99, "mangrove_alert_latency_seconds"), "alert"),
        target(quantile(0.99, "mangrove_commit_latency_seconds"), "visible in S3"),
        target(quantile(0.99, "mangrove_warehouse_freshness_seconds"), "visible in the warehouse"),
    ], "s"),
    lines("Byte budget", "Share of worker.memory_budget in use. At 100 % reading waits for storing.",
          target(share(f"sum by (instance) ({of('mangrove_budget_bytes')})", f"sum by (instance) ({of('mangrove_budget_limit_bytes')})"), "{{instance}}"),
          "percentunit", max=1),
    row("Findings"),
    lines("Restarts", "Restarts a minute, by kind of actor, and of single sensors.", [
        target(f"60 * {rate('mangrove_actor_restarts_total', 'kind')}", "{{kind}}"),
        target(f"60 * {rate('mangrove_sensor_restarts_total')}", "sensor"),
    ]),
    lines("Failed calls", "By service and by what can be done about them.", [
        target(rate("mangrove_reader_failures_total", "failure"), "kinesis {{failure}}"),
        target(rate("mangrove_upload_retries_total", "failure"), "s3 {{failure}}"),
        target(rate("mangrove_lease_failures_total", "failure"), "dynamodb {{failure}}"),
    ], "cps"),
    lines("Quarantine", "Share of readings that the schema does not allow.",
          target(share(rate("mangrove_readings_total", labels='outcome="quarantined"'), rate("mangrove_readings_total")), "quarantined"),
          "percentunit"),
    lines("Alerts about sensors", "Raised, and those that reached nobody.", [
        target(rate("mangrove_alerts_total", "kind"), "{{kind}}"),
        target(f"({rate('mangrove_alerts_undelivered_total')}) + ({rate('mangrove_alerts_shed_total')})", "reached nobody"),
    ], "cps"),
]

SHARDS = [
    lines("Lag by shard", "As the last page said, and the time since: a reader that stands still falls behind.",
          target(f"max by (shard) ({of('mangrove_shard_lag_ms')})", "{{shard}}"), "ms", width=24),
    lines("Records read", "Per shard.", target(rate("mangrove_reader_records_total", "shard"), "{{shard}}"), "cps"),
    lines("Epochs committed", "Per shard and minute. A shard that reads and commits nothing is stuck.",
          target(f"60 * {rate('mangrove_epochs_total', 'shard')}", "{{shard}}")),
    lines("Read, not committed", "Records on their way to the lake.",
          target(f"max by (shard) ({of('mangrove_shard_uncommitted_records')})", "{{shard}}")),
    lines("Nothing moves", "For how long nothing has moved that should. At leases.stuck_after the shard is given up.",
          target(f"max by (shard) ({of('mangrove_shard_stalled_seconds')})", "{{shard}}"), "s"),
    lines("Behind, as the stream says", "MillisBehindLatest of the last page.",
          target(f"max by (shard) ({of('mangrove_reader_behind_seconds')})", "{{shard}}"), "s"),
    lines("Being read", "1 if a page came in the last 30 s.",
          target(f"max by (shard) ({of('mangrove_shard_reading')})", "{{shard}}"), max=1),
    row("Reading"),
    lines("GetRecords", "Time of one call.", quantiles("mangrove_reader_fetch_seconds"), "s"),
    lines("Failed reads, and polls without budget", "By what can be done about them.", [
        target(rate("mangrove_reader_failures_total", "failure"), "{{failure}}"),
        target(rate("mangrove_reader_budget_waits_total"), "no budget"),
    ], "cps"),
    row("Ownership"),
    lines("Shards by worker", "Owned, and without owner as each worker sees it.", [
        target(f"sum by (instance) ({of('mangrove_shards_owned')})", "{{instance}}"),
        target(f"min({of('mangrove_shards_unowned')})", "without owner"),
    ]),
    lines("Moves", "An hour: taken from dead workers, handed over in good order, lost, given up, fences.", [
        target(f"sum(increase({of(metric)}[1h]))", name) for name, metric in (
            ("takeovers", "mangrove_lease_takeovers_total"), ("hand-overs", "mangrove_lease_handovers_total"),
            ("lost", "mangrove_leases_lost_total"), ("given up", "mangrove_shards_given_up_total"),
            ("fences", "mangrove_fences_total"), ("trimmed", "mangrove_shards_trimmed_total"),
            ("position trimmed", "mangrove_reader_positions_trimmed_total"),
            ("disagree with the bucket", "mangrove_shards_refused_total"),
            ("behind the bucket", "mangrove_lease_rows_advanced_total"))
    ]),
    lines("Heartbeat", "Age of the last one written. A worker fences itself at two thirds of leases.failover_after.",
          target(f"max by (instance) ({of('mangrove_heartbeat_age_seconds')})", "{{instance}}"), "s"),
    lines("Findings of leases", "What keeps shards from being read, now.",
          target(f"sum by (trouble) ({of('mangrove_lease_troubles')})", "{{trouble}}")),
    lines("Lease table, failed calls", "By what for and by what can be done about them.",
          target(rate("mangrove_lease_failures_total", "call, failure"), "{{call}} {{failure}}"), "cps", width=24),
]

SENSORS = [
    stat("Sensors known", "Over all shards.", f"sum({of('mangrove_sensors_known')})"),
    stat("Sensors live", "Those with an actor now; the others have only their state.", f"sum({of('mangrove_sensors_live')})"),
    stat("Windows open", "Hourly and daily windows at the last cut.", f"sum({of('mangrove_aggregator_windows')})"),
    stat("Restarts, 1 h", "Restarts of single sensors.", f"sum(increase({of('mangrove_sensor_restarts_total')}[1h]))", bad_above=20),
    stat("Late, 1 h", "Readings that no hour counts.", f"sum(increase({of('mangrove_aggregator_late_total')}[1h]))"),
    stat("Alerts, 1 h", "Raised by sensors.", f"sum(increase({of('mangrove_alerts_total')}[1h]))"),
    row("Readings"),
    lines("By outcome", "In committed epochs.", target(rate("mangrove_readings_total", "outcome"), "{{outcome}}"), "cps",
          custom={"stacking": {"mode": "normal"}}),
    lines("Quarantined, by reason", "quarantine/ holds each reading with its reason.",
          target(f"{rate('mangrove_quarantined_total', 'reason')} > 0", "{{reason}}"), "cps"),
    lines("Late readings", "Stored and marked; no hour changes.", target(rate("mangrove_aggregator_late_total"), "late"), "cps"),
    lines("Sensors by shard", "Known and live.", [
        target(f"sum by (shard) ({of('mangrove_sensors_known')})", "{{shard}} known"),
        target(f"sum by (shard) ({of('mangrove_sensors_live')})", "{{shard}} live"),
    ]),
    lines("Restarts of sensors", "A minute.", target(f"60 * {rate('mangrove_sensor_restarts_total')}", "restarts")),
    lines("Open windows", "By shard, at the last cut.", target(f"sum by (shard) ({of('mangrove_aggregator_windows')})", "{{shard}}")),
    row("Anomalies"),
    lines("Alerts by kind", "Raised and handed to the transports.", target(rate("mangrove_alerts_total", "kind"), "{{kind}}"), "cps"),
    heatmap("From arrival to alert", "How old the record was when its alert left.", "mangrove_alert_latency_seconds"),
    lines("Delivery", "Taken by receivers, tried again, given up, no room.", [
        target(rate("mangrove_alerts_sent_total", "transport"), "{{transport}} taken"),
        target(rate("mangrove_alert_retries_total", "transport"), "{{transport}} tried again"),
        target(rate("mangrove_alerts_undelivered_total", "transport"), "{{transport}} given up"),
        target(rate("mangrove_alerts_shed_total"), "no room"),
        target(rate("mangrove_alerts_not_resent_total"), "too old to be sent again"),
    ], "cps"),
    lines("Receivers", "Time to hand one alert over, p99.", [
        target(quantile(0.99, "mangrove_alert_send_seconds", "transport"), "{{transport}}"),
    ], "s"),
    lines("Waiting", "Alerts queued or under way, and silent sensors that found no room among them yet.", [
        target(f"sum by (instance) ({of('mangrove_alerts_waiting')})", "{{instance}}"),
        target(f"sum by (instance) ({of('mangrove_silences_waiting')})", "{{instance}} silent"),
    ], width=24),
]

SINKS = [
    heatmap("From arrival to S3", "Age of an epoch's oldest record when it was committed.", "mangrove_commit_latency_seconds"),
    lines("Steps of an epoch, p99", "Encode, prepare, upload, and all from prepared to committed.", [
        target(quantile(0.99, f"mangrove_epoch_{step}_seconds"), step) for step in ("encode", "prepare", "upload", "commit")
    ], "s"),
    lines("Objects", "Uploaded, and found to be there already after an earlier attempt.", [
        target(rate("mangrove_objects_total"), "uploaded"), target(rate("mangrove_object_repeats_total"), "were there"),
    ], "cps"),
    lines("Uploads tried again", "By what can be done about the failure.", target(rate("mangrove_upload_retries_total", "failure"), "{{failure}}"), "cps"),
    lines("Bytes in flight", "Of the worker's budget.", [
        target(f"sum by (instance) ({of('mangrove_budget_bytes')})", "{{instance}}"),
        target(f"max({of('mangrove_budget_limit_bytes')})", "limit"),
        target(f"min({of('mangrove_memory_limit_bytes')})", "memory of the process"),
    ], "bytes"),
    lines("Commits", "Epochs a minute.", target(f"60 * {rate('mangrove_epochs_total')}", "epochs")),
    row("Warehouse"),
    stat("Behind", "From a record's arrival to the warehouse, in the last batch.", LOADED_LAG, "ms", bad_above=900000),
    stat("Epochs that wait", "In S3, not loaded yet.", f"max({of('mangrove_warehouse_epochs_pending')})"),
    stat("Put aside, 24 h", "Epochs in load_refused.", f"sum(increase({of('mangrove_warehouse_put_aside_total')}[24h]))", bad_above=1),
    stat("Rows, 1 h", "Loaded into all tables.", f"sum(increase({of('mangrove_warehouse_rows_total')}[1h]))"),
    stat("Batches, 1 h", "Transactions of a load.", f"sum(increase({of('mangrove_warehouse_batches_total')}[1h]))"),
    stat("Freshness, p99", "From a record's arrival to its row.", quantile(0.99, "mangrove_warehouse_freshness_seconds"), "s"),
    lines("Lag of the warehouse", "From arrival to loaded, the slowest hundredth of the last batch.", target(LOADED_LAG, "lag"), "ms"),
    lines("Epochs", "Those that wait, and those loaded a minute. The backlog lies in S3; nothing is held in memory.", [
        target(f"max({of('mangrove_warehouse_epochs_pending')})", "wait"),
        target(f"60 * {rate('mangrove_warehouse_epochs_total')}", "loaded a minute"),
    ]),
    lines("Rows", "Loaded a second.", target(rate("mangrove_warehouse_rows_total"), "rows"), "cps"),
    lines("Bytes", "Of the files loaded.", target(rate("mangrove_warehouse_bytes_total"), "bytes"), "Bps"),
    lines("One load", "The warehouse's own time, and all from the manifests to the end.", [
        target(quantile(0.99, "mangrove_warehouse_statement_seconds"), "statements p99"),
        target(quantile(0.99, "mangrove_warehouse_load_seconds"), "all p99"),
    ], "s"),
    lines("Refused and failed", "Batches refused, turns of the loader that failed by what can be said after it.", [
        target(rate("mangrove_warehouse_refused_total"), "refused"),
        target(rate("mangrove_warehouse_failures_total", "trouble"), "{{trouble}}"),
        target(rate("mangrove_warehouse_metadata_failures_total"), "metadata not read"),
        target(rate("mangrove_warehouse_taken_back_total"), "put aside, and loaded after all"),
    ], "cps"),
    lines("Metadata refused", "Rows of the metadata in force that are not used: see metadata_refused.", target(f"max({of('mangrove_warehouse_metadata_refused')})", "rows")),
    lines("Who loads", "1 in the worker that does; the others stand by.", target(f"max by (instance) ({of('mangrove_warehouse_active')})", "{{instance}}"), width=24, max=1),
]

RUNTIME = [
    row("Actors: rate, errors, duration, saturation"),
    lines("Messages handled", "By kind of actor.", target(rate("mangrove_actor_handle_seconds_count", "kind"), "{{kind}}"), "cps"),
    lines("Restarts", "A minute, by kind.", target(f"60 * {rate('mangrove_actor_restarts_total', 'kind')}", "{{kind}}")),
    lines("Time in one handler, p99", "By kind of actor.", target(quantile(0.99, "mangrove_actor_handle_seconds", "kind"), "{{kind}}"), "s"),
    lines("Busy", "Share of the time that the actors of a kind are in a handler; 1 is one actor busy all the time.",
          target(rate("mangrove_actor_handle_seconds_sum", "kind"), "{{kind}}"), "short"),
    lines("Messages that wait", "By kind of actor. Bounded by the byte budget.", target(f"sum by (kind) ({of('mangrove_actor_queue')})", "{{kind}}")),
    lines("Longest handler at work", "At restarts.hang_timeout its actor is killed.", target(f"max by (kind) ({of('mangrove_actor_busy_seconds')})", "{{kind}}"), "s"),
    lines("Actors by state", "Anything but running is a change under way, or a failure.", target(f"sum by (state) ({of('mangrove_actors')})", "{{state}}"), width=24),
    row("Process"),
    lines("Processor", "Cores in use.", target(f"sum by (instance) (rate({of('process_cpu_seconds_total')}[{RATE}]))", "{{instance}}")),
    lines("Memory", "Resident.", target(f"sum by (instance) ({of('process_resident_memory_bytes')})", "{{instance}}"), "bytes"),
    lines("Runtime threads busy", "Share of the time.",
          target(share(rate("mangrove_runtime_busy_seconds_total", "instance"), f"sum by (instance) ({of('mangrove_runtime_threads')})"), "{{instance}}"),
          "percentunit", max=1),
    lines("Tasks", "Alive, and ready but without a thread.", [
        target(f"sum by (instance) ({of('mangrove_runtime_tasks')})", "{{instance}} alive"),
        target(f"sum by (instance) ({of('mangrove_runtime_queue')})", "{{instance}} waiting"),
    ]),
    lines("Open files", "And the limit.", [
        target(f"sum by (instance) ({of('process_open_fds')})", "{{instance}}"),
        target(f"min({of('process_max_fds')})", "limit"),
    ]),
    lines("Ops endpoint", "Connections, and those closed or refused at the limit.", [
        target(f"sum by (instance) ({of('mangrove_ops_connections')})", "{{instance}}"),
        target(rate("mangrove_ops_connections_evicted_total"), "evicted a second"),
        target(rate("mangrove_ops_requests_refused_total"), "refused a second"),
        target(rate("mangrove_ops_pictures_total"), "snapshots a second"),
        target(rate("mangrove_admin_refused_total"), "orders refused a second"),
    ]),
    lines("Log lines left out", "A place in the code that has too much to say: see log.lines_max.",
          target(rate("mangrove_log_lines_left_out_total", "instance"), "{{instance}}"), "cps"),
    lines("Traces: spans", "Sent to the collector and waiting to be, and lost, by cause. A collector that fails costs nothing else.", [
        target(rate("mangrove_trace_spans_sent_total"), "sent a second"),
        target(rate("mangrove_trace_spans_lost_total", "cause"), "lost a second: {{cause}}"),
        target(f"sum({of('mangrove_trace_spans_waiting')})", "waiting"),
    ]),
    lines("Uptime", "Since the process began.", target(f"time() - max by (instance) ({of('process_start_time_seconds')})", "{{instance}}"), "s"),
    panel("table", "Builds", "Which worker runs which version.",
          target(f"max by (instance, version) ({of('mangrove_build_info')})", format="table", instant=True), width=24),
]

DASHBOARDS = {
    "overview": ("Mangrove / Overview", "Which part fails, and since when.", OVERVIEW),
    "shards": ("Mangrove / Shards", "Who reads what, and how far behind.", SHARDS),
    "sensors": ("Mangrove / Sensors and anomalies", "What sensors send, and what is wrong with it.", SENSORS),
    "sinks": ("Mangrove / Sinks and warehouse", "How readings become visible.", SINKS),
    "runtime": ("Mangrove / Runtime", "The actors and the process.", RUNTIME),
}


def placed(panels):
    """Left to right, then down; a row begins a new line."""
    x = y = height = 0
    for number, panel_ in enumerate(panels, start=1):
        place = panel_["gridPos"]
        if x + place["w"] > COLUMNS:
            x, y, height = 0, y + height, 0
        yield {**panel_, "id": number, "gridPos": {**place, "x": x, "y": y}}
        x, height = x + place["w"], max(height, place["h"])


def query_variable(name, label, metric):
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE,
            "query": {"query": f"label_values({metric}, {name})", "refId": name}, "refresh": 2, "sort": 1,
            "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}


def dashboard(name):
    title, description, panels = DASHBOARDS[name]
    return {
        "uid": f"mangrove-{name}", "title": title, "description": description, "tags": ["mangrove"],
        "schemaVersion": 39, "editable": False, "refresh": "10s", "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser", "graphTooltip": 1,
        "links": [{"type": "dashboards", "tags": ["mangrove"], "title": "Mangrove", "asDropdown": True, "keepTime": True, "includeVars": True}],
        "annotations": {"list": [{
            "name": "Alerts", "enable": True, "iconColor": "orange", "datasource": DATASOURCE, "titleFormat": "{{alertname}}",
            "expr": 'ALERTS{alertname=~"Mangrove.*", alertstate="firing"}',
        }]},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
            query_variable("namespace", "Namespace", 'mangrove_build_info{job="mangrove"}'),
            query_variable("instance", "Worker", 'mangrove_build_info{job="mangrove", namespace=~"$namespace"}'),
        ]},
        "panels": list(placed(panels)),
    }


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = []
    for name in DASHBOARDS:
        path = HERE / "dashboards" / f"{name}.json"
        text = json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"
        if check:
            stale += [str(path)] if not path.exists() or path.read_text() != text else []
        else:
            path.write_text(text)
    if stale:
        sys.exit(f"not what dashboards.py writes: {', '.join(stale)}. Run deploy/observability/dashboards.py")


if __name__ == "__main__":
    main()
