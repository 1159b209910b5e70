//! Loading: everything reported at once, later layers win, sources are kept, secrets are not shown.

use std::path::Path;
use std::time::Duration;

use toml::{Table, Value};

use actors::ports::objects::Encryption;

use super::{Config, ConfigProblems, DEFAULTS, Effective, LogFormat, Sources};

const COMPLETE: &str = "stream.name = \"events\"\nbucket.name = \"lake\"\nschema.use = \"climate\"\n";

struct World {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl World {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mangrove.toml");
        std::fs::write(&file, text).unwrap();
        Self { sources: Sources::of_file(Some(file)).host_name("host-1"), folder }
    }

    fn complete(more: &str) -> Self {
        Self::new(&format!("{COMPLETE}{more}"))
    }

    fn environment(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        self.sources = self.sources.environment(owned);
        self
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn load(&self) -> Effective {
        Config::load(&self.sources).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems, with the folder's path taken out.
    fn problems(&self) -> Vec<String> {
        let ConfigProblems(lines) = Config::load(&self.sources).map(drop).expect_err("there should be problems");
        let folder = format!("{}/", self.folder.path().display());
        lines.into_iter().map(|line| line.replace(&folder, "")).collect()
    }

    #[track_caller]
    fn has_problem(&self, parts: &[&str]) {
        let problems = self.problems();
        let found = problems.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?} in {problems:#?}");
    }
}

#[test]
fn every_shipped_default_is_sound_and_only_names_are_missing() {
    let problems = World::new("").problems();
    let keys: Vec<&str> = problems.iter().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(keys, ["stream.name", "bucket.name", "schema.use"], "{problems:#?}");
    let config = World::complete("").load().config;
    let worker = config.worker();
    assert_eq!((worker.worker_id.as_str(), config.leases_table.as_str()), ("host-1", "mangrove-events"));
    assert_eq!(worker.shard.committer.age_max, Duration::from_secs(10));
    assert_eq!(worker.shard.committer.partitions_max, worker.shard.reader.partitions_max);
    assert_eq!(worker.shard.committer.rows_max, worker.shard.reader.rows_max);
    assert_eq!((worker.memory_budget, worker.event_ids_max), (128 << 20, 32));
    assert_eq!((config.threads, config.aws.region, config.aws.endpoint_url), (None, None, None));
}

/// A key that is shipped but never read would be a lie, and one that is read but not shipped would panic.
#[test]
fn every_shipped_key_is_read() {
    let defaults: Table = DEFAULTS.parse().unwrap();
    for (section, keys) in &defaults {
        for key in keys.as_table().unwrap().keys() {
            let nonsense = toml::from_str::<Table>("x = 1979-05-27").unwrap()["x"].clone();
            let mut file: Table = COMPLETE.parse().unwrap();
            let entry = file.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            entry.as_table_mut().unwrap().insert(key.clone(), nonsense);
            World::new(&file.to_string()).has_problem(&[&format!("mangrove.toml: {section}.{key}: must be ")]);
        }
    }
}

#[test]
fn unknown_key_wrong_type_and_bad_bound_are_all_reported() {
    let world = World::complete(
        "epoch.age_maxx = \"10s\"\nepoch.bytes_max = true\nreader.records_max = 20000\n[ops]\nbind = \"nowhere\"\n\
         [epochs]\n[alerts]\nretry_for = \"yes\"\nage_max = \"1s\"\n",
    );
    for parts in [
        ["mangrove.toml: epoch.age_maxx: ", "did you mean age_max?"],
        ["mangrove.toml: epoch.bytes_max: ", "must be a size from 64KiB to 1GiB, such as \"32MiB\", not true"],
        ["mangrove.toml: reader.records_max: ", "must be a whole number from 1 to 10000, not 20000"],
        ["mangrove.toml: ops.bind: ", "such as \"127.0.0.1:8080\", not \"nowhere\""],
        ["mangrove.toml: epochs: ", "did you mean [epoch]?"],
        ["mangrove.toml: alerts.retry_for: ", "must be a duration"],
        ["mangrove.toml: alerts.age_max: ", "it belongs into [epoch]"],
    ] {
        world.has_problem(&parts);
    }
    assert_eq!(world.problems().len(), 7, "{:#?}", world.problems());
}

#[test]
fn keys_outside_a_section_and_values_instead_of_sections() {
    let world = World::new(&format!("idle_timeout = \"5m\"\nlog = \"debug\"\n{COMPLETE}"));
    world.has_problem(&["mangrove.toml: idle_timeout: ", "belongs into [sensors]"]);
    world.has_problem(&["mangrove.toml: log: must be a section, headed [log]"]);
}

#[test]
fn later_layers_win_and_every_value_knows_its_source() {
    let mut world =
        World::complete("epoch.age_max = \"20s\"\nepoch.full_state_every = 8\n[worker]\nid = \"from-file\"\n")
            .environment(&[
                ("MANGROVE_EPOCH__AGE_MAX", "30s"),
                ("MANGROVE_READER__RECORDS_MAX", "5_000"),
                ("MANGROVE_WORKER__ID", "from-environment"),
                ("MANGROVE_OPS__HOSTS", "a.example.org, b.example.org"),
                ("MANGROVE_SERVICE_HOST", "10.0.0.1"),
                ("OTHER_EPOCH__AGE_MAX", "1h"),
            ]);
    world.sources = world.sources.flag("--worker-id", "worker.id", Some("from-flag"));
    world.sources = world.sources.preset("a demo", "epoch.full_state_every", 4);
    world.sources = world.sources.preset("a demo", "epoch.partitions_max", 100);
    let Effective { config, report } = world.load();
    let shard = config.worker().shard;
    assert_eq!((shard.committer.age_max, shard.committer.full_state_every), (Duration::from_secs(30), 8));
    assert_eq!((shard.reader.records_max, config.worker().worker_id.as_str()), (5_000, "from-flag"));
    assert_eq!(config.ops.hosts, ["a.example.org", "b.example.org"]);
    let file = world.folder.path().join("mangrove.toml").display().to_string();
    for (key, source) in [
        ("epoch.age_max", "environment MANGROVE_EPOCH__AGE_MAX"),
        ("epoch.full_state_every", &file),
        ("epoch.partitions_max", "a demo"),
        ("epoch.bytes_max", "default"),
        ("worker.id", "flag --worker-id"),
        ("leases.table", "default, after the stream"),
    ] {
        assert_eq!(report.source_of(key), Some(source), "{key}");
    }
}

#[test]
fn the_environment_is_checked_like_a_file() {
    let world = World::complete("").environment(&[
        ("MANGROVE_EPOCH__AGEMAX", "30s"),
        ("MANGROVE_READER__RECORDS_MAX", "many"),
        ("MANGROVE_LEASE__TABLE", "t"),
        ("MANGROVE_STREAM_NAME", "events"),
        ("MANGROVE_FAULTS", "nowhere=panic"),
        ("MANGROVE_CONFIG", "/else/where.toml"),
    ]);
    world.has_problem(&["environment MANGROVE_EPOCH__AGEMAX: epoch.agemax: ", "did you mean age_max?"]);
    world.has_problem(&["environment MANGROVE_READER__RECORDS_MAX: reader.records_max: ", "not \"many\""]);
    world.has_problem(&["environment MANGROVE_LEASE__TABLE: lease.table: ", "did you mean [leases]?"]);
    world.has_problem(&["environment MANGROVE_STREAM_NAME: ", "MANGROVE_STREAM__NAME"]);
    world.has_problem(&["MANGROVE_FAULTS: ", "nowhere"]);
    assert_eq!(world.problems().len(), 5);
}

#[test]
fn a_name_that_is_a_number_stays_a_text() {
    let config = World::complete("").environment(&[("MANGROVE_STREAM__NAME", "123")]).load().config;
    assert_eq!(config.stream_name, "123");
}

#[test]
fn limits_must_fit_each_other() {
    for (more, parts) in [
        ("epoch.bytes_max = \"64MiB\"", ["epoch.bytes_max: 3 times", "worker.memory_budget (128MiB)"]),
        ("worker.memory_budget = \"64MiB\"", ["worker.memory_budget: 3 times", "epoch.bytes_max (32MiB)"]),
        ("worker.drain_timeout = \"5s\"", ["worker.drain_timeout", "aws.attempt_timeout (5s)"]),
        ("aws.attempt_timeout = \"20s\"", ["aws.attempt_timeout: restarts.hang_timeout", "at least twice"]),
        ("reader.poll_interval = \"50ms\"", ["reader.poll_interval", "5 reads"]),
        ("sensors.live_max = 2000000", ["sensors.live_max", "sensors.known_max (1500000)"]),
        ("sensors.scan_interval = \"30s\"", ["sensors.scan_interval", "sensors.hang_timeout"]),
        ("aggregator.allowed_lateness = \"7d\"", ["aggregator.allowed_lateness", "at least 177"]),
        ("epoch.refresh_after = \"10m\"", ["epoch.refresh_after", "from 1h to 30days"]),
        ("restarts.backoff_min = \"20s\"", ["restarts.backoff_min", "restarts.backoff_max (10s)"]),
        ("restarts.within = \"5s\"", ["restarts.within", "6.2s that 5 restarts wait"]),
        ("alerts.timeout = \"60s\"\nalerts.retry_for = \"30s\"", ["alerts.timeout", "alerts.retry_for (30s)"]),
        ("ops.bind = \"0.0.0.0:8080\"", ["ops.bind: 0.0.0.0:8080", "ops.allow_remote = true"]),
    ] {
        World::complete(more).has_problem(&parts);
    }
    World::complete("reader.poll_interval = \"50ms\"\naws.endpoint_url = \"http://127.0.0.1:4566\"").load();
    World::complete("ops.bind = \"0.0.0.0:8080\"\nops.allow_remote = true").load();
}

#[test]
fn a_relation_is_not_judged_by_a_broken_value() {
    let world = World::complete("epoch.bytes_max = \"64MiB\"\nworker.memory_budget = \"lots\"");
    assert_eq!(world.problems().len(), 1, "{:#?}", world.problems());
}

#[test]
fn what_is_debugged_has_no_address_and_no_value_that_may_be_secret() {
    let world = World::complete(
        "[alerts]\nwebhooks = [\"https://hooks.example.org/services/t0ken-1\"]\n\
         alertmanagers = [\"https://u:t0ken-2@alerts.example.org\"]\n\
         [traces]\nendpoint = \"https://collector.example.org/t0ken-3\"\n",
    );
    let world = world.environment(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=t0ken-4")]);
    let effective = Config::load(&world.sources).unwrap();
    let shown = format!("{:?} {:?} {}", effective, world.sources, effective.report.to_json());
    assert!(shown.contains("authorization") && !shown.contains("t0ken"), "{shown}");
}

#[test]
fn receivers_are_judged_one_by_one_and_never_quoted() {
    let world = World::complete(
        "[alerts]\nwebhooks = [\"http://169.254.169.254/token-abc\", \"https://ok.example.org/\", \"ftp://x/token-abc\"]\n\
         alertmanagers = [\"http://u:token-abc@alerts.example.org\"]\nsns_topics = [\"alerts\"]\n\
         [aws]\nendpoint_url = \"http://u:token-abc@host/\"\n",
    );
    world.has_problem(&["alerts.webhooks[0]: ", "link-local"]);
    world.has_problem(&["alerts.webhooks[2]: ", "https://"]);
    world.has_problem(&["alerts.alertmanagers[0]: ", "in the clear"]);
    world.has_problem(&["alerts.sns_topics[0]: ", "arn:aws:sns:"]);
    world.has_problem(&["aws.endpoint_url: ", "only"]);
    assert_eq!(world.problems().len(), 5);
    assert!(!world.problems().concat().contains("token-abc"));
}

#[test]
fn what_is_shown_loads_again_and_holds_no_secret() {
    let world = World::complete(
        "log.format = \"json\"\nlog.level = \"warn,mangrove_actors=debug\"\n[alerts]\n\
         webhooks = [\"https://user:hunter2@hooks.example.org/services/XXXXXXXXXXXXXXXXXXXX?key=hunter2\"]\n",
    );
    let Effective { config, report } = world.load();
    assert!(config.receivers.webhooks[0].contains("hunter2") && config.log.format == LogFormat::Json);
    let (toml, json) = (report.to_toml(), report.to_json());
    assert!(!toml.contains("hunter2") && !json.to_string().contains("hunter2"));
    assert!(toml.contains("https://***@hooks.example.org/services/***?key=***"), "{toml}");
    assert!(toml.contains("# from default\n") && json["epoch"]["age_max"]["source"] == "default");
    let again = World::new(&toml).load();
    assert_eq!(again.config.worker().worker_id, "host-1");
    assert_eq!(again.config.log.level, config.log.level);
    assert_eq!(Path::new(again.report.source_of("log.level").unwrap()).file_name().unwrap(), "mangrove.toml");
}

#[test]
fn wrong_values_of_secret_keys_are_not_shown_either() {
    let world = World::complete("alerts.webhooks = \"https://user:hunter2@hooks.example.org/\"");
    world.has_problem(&["alerts.webhooks: must be a list"]);
    let (report, config) = Config::inspect(&world.sources);
    let shown = report.to_toml() + &config.map(drop).unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_schema_is_one_of_two_and_its_problems_are_ours() {
    World::new("stream.name = \"events\"\nbucket.name = \"lake\"\nschema.use = \"climat\"").has_problem(&[
        "schema.use: ",
        "climate, air-quality",
        "did you mean \"climate\"?",
    ]);
    let both = World::complete("schema.file = \"own.toml\"");
    both.has_problem(&["schema.file: only one of use and file"]);
    let own = World::new("stream.name = \"events\"\nbucket.name = \"lake\"\nschema.file = \"own.toml\"");
    own.has_problem(&["mangrove.toml: schema.file: ", "own.toml cannot be read"]);
    own.file("own.toml", "name = \"own\"\n[[fields]]\nname = \"t\"\ntype = \"flout\"\n");
    own.has_problem(&["own.toml: sensor_id: is missing"]);
    own.has_problem(&["own.toml: fields[t].type: "]);
    own.file("own.toml", messages::schema::BUILT_IN[1].1);
    assert_eq!(own.load().config.schema().name, "air-quality");
}

#[test]
fn a_schema_flag_replaces_whichever_the_file_has() {
    let mut world = World::complete("");
    world.file("own.toml", messages::schema::BUILT_IN[1].1);
    let own = world.folder.path().join("own.toml").display().to_string();
    world.sources = world.sources.clone().schema_flag("--schema", Some(&own));
    let Effective { config, report } = world.load();
    assert_eq!(config.schema().name, "air-quality");
    assert_eq!(report.source_of("schema.use"), Some("flag --schema"));
}

#[test]
fn an_unreadable_file_is_one_problem_without_its_text() {
    let world = World::new("stream.name = \"events\"\nalerts.webhooks = [\"https://u:hunter2@h/\", }\n");
    let problems = world.problems();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].starts_with("mangrove.toml: is not TOML: line 2: ") && !problems[0].contains("hunter2"));
    let none = Sources::of_file(Some("/nowhere/mangrove.toml".into()));
    let problems = Config::load(&none).map(drop).unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert!(problems.to_string().contains("/nowhere/mangrove.toml: cannot be read"), "{problems}");
}

#[test]
fn without_a_host_name_the_id_must_be_set() {
    let mut world = World::complete("");
    world.sources.host_name = None;
    world.has_problem(&["mangrove.toml: worker.id: is not set", "MANGROVE_WORKER__ID"]);
}

#[test]
fn the_admin_endpoint_wants_a_token_that_stands_nowhere() {
    let token = "correct-horse-battery-staple-0123";
    World::complete("admin.bind = \"127.0.0.1:8081\"").has_problem(&["admin.token_file: must be set"]);
    let in_file = World::complete(&format!("admin.bind = \"127.0.0.1:8081\"\nadmin.token = \"{token}\""));
    in_file.has_problem(&["admin.token: must not stand here", "MANGROVE_ADMIN__TOKEN"]);
    assert!(!in_file.problems().concat().contains(token));
    let short = [("MANGROVE_ADMIN__BIND", "127.0.0.1:0"), ("MANGROVE_ADMIN__TOKEN", "short")];
    World::complete("").environment(&short).has_problem(&["admin.token: must have 32 to 512 characters, not 5"]);
    let remote = [("MANGROVE_ADMIN__BIND", "0.0.0.0:8081"), ("MANGROVE_ADMIN__TOKEN", token)];
    World::complete("").environment(&remote).has_problem(&["admin.bind: 0.0.0.0:8081", "admin.allow_remote = true"]);

    let good = [("MANGROVE_ADMIN__BIND", "127.0.0.1:0"), ("MANGROVE_ADMIN__TOKEN", token)];
    let Effective { config, report } = World::complete("").environment(&good).load();
    assert!(config.admin.is_some() && !format!("{config:?}").contains(token));
    assert!(!report.to_toml().contains(token) && !report.to_json().to_string().contains(token));
    let by_file = World::complete("admin.bind = \"127.0.0.1:0\"\nadmin.token_file = \"/nowhere/token\"");
    by_file.has_problem(&["admin.token_file: /nowhere/token cannot be read"]);
    assert!(World::complete("").load().config.admin.is_none());
}

#[test]
fn other_workers_are_told_an_address_that_they_can_ask() {
    let told = |more: &str, listens: &str| World::complete(more).load().config.advertised(listens.parse().unwrap());
    assert_eq!(told("", "127.0.0.1:8080"), "http://127.0.0.1:8080");
    assert_eq!(told("", "0.0.0.0:8080"), "");
    assert_eq!(told("ops.advertise = \"http://10.0.0.7:8080\"", "0.0.0.0:8080"), "http://10.0.0.7:8080");
    for wrong in ["10.0.0.7:8080", "http://worker-0:8080", "http://0.0.0.0:8080", "http://10.0.0.7/path"] {
        World::complete(&format!("ops.advertise = \"{wrong}\"")).has_problem(&["ops.advertise: ", "an IP address"]);
    }
}

#[test]
fn traces_are_off_until_somebody_takes_them() {
    assert!(World::complete("").load().config.traces.is_none());
    assert!(
        World::complete("traces.endpoint = \"http://127.0.0.1:4318\"\ntraces.sample_ratio = 0")
            .load()
            .config
            .traces
            .is_none()
    );
    let world = World::complete("traces.endpoint = \"http://127.0.0.1:4318\"").environment(&[
        ("MANGROVE_TRACES__SAMPLE_RATIO", "0.5"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=worker-0, service.name=other"),
        ("OTEL_SERVICE_NAME", "mangrove-eu"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2"),
    ]);
    let Effective { config, report } = world.load();
    let traces = config.traces.unwrap();
    assert_eq!(
        (traces.traces.sample_ratio, traces.export.collector.endpoint.as_str()),
        (0.5, "http://127.0.0.1:4318/v1/traces")
    );
    let resource: Vec<(&str, &str)> = traces.export.resource.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for pair in [
        ("service.name", "mangrove-eu"),
        ("k8s.pod.name", "worker-0"),
        ("service.instance.id", "host-1"),
        ("host.name", "host-1"),
    ] {
        assert!(resource.contains(&pair), "{pair:?} in {resource:?}");
    }
    assert_eq!(resource.iter().filter(|(key, _)| *key == "service.name").count(), 1);
    assert_eq!(traces.export.collector.headers, [("authorization".to_owned(), "Bearer hunter2".to_owned())]);
    assert!(!report.to_toml().contains("hunter2"));

    for (more, parts) in [
        ("traces.endpoint = \"127.0.0.1:4317\"", ["traces.endpoint: must ", "https://host/path"]),
        ("traces.endpoint = \"http://169.254.169.254/x\"", ["traces.endpoint: ", "traces are never sent there"]),
        ("traces.sample_ratio = 2", ["traces.sample_ratio: must be a number from 0 to 1", "not 2"]),
        ("stream.keys = \"auto\"", ["stream.keys: must be one of \"detect\", \"sensor\", \"spread\"", "not \"auto\""]),
        (
            "decode.kpl_hash_range = \"skip\"",
            ["decode.kpl_hash_range: must be one of \"check\", \"ignore\"", "not \"skip\""],
        ),
        ("traces.ids = \"b3\"", ["traces.ids: must be one of \"w3c\", \"xray\"", "not \"b3\""]),
    ] {
        World::complete(more).has_problem(&parts);
    }
    let small = "traces.endpoint = \"http://127.0.0.1:4318\"\ntraces.queue_max = 100";
    World::complete(small).has_problem(&["traces.queue_max: traces.batch_max (512)", "traces.queue_max (100)"]);
    let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")];
    let world = World::complete("traces.endpoint = \"http://127.0.0.1:4318\"").environment(&headers);
    world.has_problem(&["OTEL_EXPORTER_OTLP_HEADERS: must be", "percent-encoded"]);
    assert!(!world.problems().concat().contains("hunter2"));
}

/// BOUNDED: limits that do not fit each other, or the memory that there is, are found before anything is read.
#[test]
fn limits_are_held_against_the_memory_that_there_is() {
    let with = |more: &str, memory: u64| {
        let mut world = World::complete(more);
        world.sources = world.sources.memory(memory);
        world
    };
    // Less than the chart gives.
    let config = with("", 768 << 20).load().config;
    assert_eq!(config.worker().memory_limit, Some(768 << 20));
    assert!(config.warnings.iter().any(|line| line.contains("sensors.known_max")), "{:?}", config.warnings);
    assert!(with("", 16 << 30).load().config.warnings.is_empty());
    with("sensors.live_max = 100000\n", 768 << 20).has_problem(&["sensors.live_max", "100000", "34816 sensors fit"]);
    with("worker.memory_limit = \"200MiB\"\n", 16 << 30).has_problem(&["worker.memory_limit", "104MiB are left"]);
    with("epoch.rows_max = 5000000\n", 16 << 30).has_problem(&["epoch.rows_max", "at most"]);
    // Nobody knows: nobody complains.
    assert_eq!(World::complete("").load().config.worker().memory_limit, None);
}

#[test]
fn a_schema_that_believes_any_time_is_warned_of() {
    let world = World::new("stream.name = \"events\"\nbucket.name = \"lake\"\nschema.file = \"own.toml\"\n");
    let own = "name = \"own\"\n[sensor_id]\npath = \"id\"\n[time]\npath = \"ts\"\nformat = \"rfc3339\"\nfuture_max = \"5m\"\n\
               [[fields]]\nname = \"heat\"\ntype = \"float\"\n";
    world.file("own.toml", own);
    assert!(world.load().config.warnings.iter().any(|line| line.contains("past_max")));
    world.file("own.toml", &own.replace("future_max", "past_max = \"7d\"\nfuture_max"));
    assert!(world.load().config.warnings.is_empty());
}

#[test]
fn what_the_warehouse_could_never_load_is_refused_with_what_fits() {
    let text = |n: usize, bytes: u32| format!("[[fields]]\nname = \"t{n}\"\ntype = \"text\"\nbytes_max = {bytes}\n");
    let schema = |fields: &str| {
        format!("name = \"s\"\n[sensor_id]\npath = \"id\"\n[time]\npath = \"t\"\nformat = \"rfc3339\"\n{fields}")
    };
    let loads = "[warehouse]\nenabled = true\nworkgroup = \"lake\"\n";
    let with = |fields: String, more: &str| {
        let head = "stream.name = \"events\"\nbucket.name = \"lake\"\nschema.file = \"s.toml\"\n";
        let world = World::new(&format!("{head}{more}"));
        world.file("s.toml", &schema(&fields));
        world
    };
    let long = || text(0, 70_000);
    with(long(), loads).has_problem(&["schema.file", "t0 may have 70000 bytes", "65535 or less"]);
    with(long(), "").load();
    let site = |bytes| format!("{}[fields.tracked]\n", text(0, bytes).replace("t0", "site"));
    with(site(1_025), loads).has_problem(&["site may have 1025 bytes", "1024 or less"]);
    with(site(1_024), loads).load();
    let source = || site(16).replace("site", "source");
    with(source(), loads).has_problem(&["schema.file", "tracked field source", "rename it"]);
    with(source(), "").load();
    let many = || (0..100).map(|n| text(n, 65_535)).collect::<String>();
    with(many(), loads).load();
    let records = format!("decode.record_bytes_max = \"10MiB\"\n{loads}");
    with(many(), &records).has_problem(&["6553500 bytes of text", "decode.record_bytes_max to 3934464 or less"]);
}

#[test]
fn the_lake_of_a_warehouse_is_what_it_documents_that_it_reads() {
    let newer = "[parquet]\ncompression = \"zstd\"\nencodings = \"v2\"\n";
    World::complete(newer).load();
    let world = World::complete(&format!("{newer}[warehouse]\nenabled = true\nworkgroup = \"lake\"\n"));
    world.has_problem(&["parquet.compression: with warehouse.enabled it must be \"snappy\""]);
    world.has_problem(&["parquet.encodings: with warehouse.enabled it must be \"v1\""]);
    assert_eq!(world.problems().len(), 2, "{:#?}", world.problems());
}

#[test]
fn encryption_is_asked_for_as_configured() {
    let complete = |text: &str| {
        let head = COMPLETE.replace("bucket.name = \"lake\"\n", "");
        World::new(&format!("{head}[bucket]\nname = \"lake\"\n{text}"))
    };
    let of = |text: &str| complete(text).load().config.encryption;
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1234";
    assert_eq!(of(""), Encryption::Default);
    assert_eq!(of("encryption = \"AES256\"\n"), Encryption::Aes256);
    assert_eq!(of("encryption = \"aws:kms\"\n"), Encryption::Kms { key: None, bucket_key: false });
    let kms = format!("encryption = \"aws:kms\"\nkms_key = \"{key}\"\nkms_bucket_key = true\n");
    assert_eq!(of(&kms), Encryption::Kms { key: Some(key.to_owned()), bucket_key: true });
    complete("encryption = \"sse\"\n").has_problem(&["bucket.encryption", "\"none\", \"AES256\", \"aws:kms\""]);
    complete("kms_key = \"not one\"\n").has_problem(&["bucket.kms_key", "must be a key of KMS"]);
    let without = complete(&format!("kms_key = \"{key}\"\nkms_bucket_key = true\n"));
    without.has_problem(&["bucket.kms_key", "is for bucket.encryption = \"aws:kms\""]);
    without.has_problem(&["bucket.kms_bucket_key", "is for bucket.encryption"]);
}
