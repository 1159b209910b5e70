//! GOAL    `docs/openapi.json` says what the endpoints do: every route is in it, and every reply is as it says.
//! METHOD  The routes are read from the source of the routers. Replies of a served endpoint are held against the
//!         schemas by a validator of the few words that the contract uses; an unknown word fails.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::world::{World, config};

const CONTRACT: &str = include_str!("../../../../docs/openapi.json");

fn contract() -> Value {
    serde_json::from_str(CONTRACT).unwrap()
}

/// The paths in `.route("...")` of a router's source.
fn routed(source: &str) -> BTreeSet<String> {
    source.split(".route(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// Every way in which a value is not as the schema says.
fn faults(value: &Value, schema: &Value, api: &Value, at: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (word, says) in schema.as_object().unwrap() {
        match word.as_str() {
            "description" => {}
            "$ref" => {
                let target = api.pointer(says.as_str().unwrap().trim_start_matches('#')).unwrap();
                faults.extend(self::faults(value, target, api, at));
            }
            "anyOf" => {
                let fits = says.as_array().unwrap().iter().any(|one| self::faults(value, one, api, at).is_empty());
                faults.extend((!fits).then(|| format!("{at} fits none of {says}: {value}")));
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    "null" => value.is_null(),
                    other => panic!("unknown type {other}"),
                };
                let fits = says.as_array().map_or_else(|| is(says), |names| names.iter().any(is));
                faults.extend((!fits).then(|| format!("{at} is no {says}: {value}")));
            }
            "enum" => {
                let known = says.as_array().unwrap().contains(value);
                faults.extend((!known).then(|| format!("{at} is not one of {says}: {value}")));
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults.extend(self::faults(item, says, api, &format!("{at}[{n}]")));
                }
            }
            "required" => {
                let lacks = |name: &&Value| value.is_object() && value.get(name.as_str().unwrap()).is_none();
                faults.extend(says.as_array().unwrap().iter().filter(lacks).map(|name| format!("{at} lacks {name}")));
            }
            "properties" => {
                for (name, schema) in says.as_object().unwrap() {
                    let inner = value.get(name).map(|value| self::faults(value, schema, api, &format!("{at}.{name}")));
                    faults.extend(inner.into_iter().flatten());
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let others = value.as_object().into_iter().flatten();
                let others = others.filter(|(name, _)| !known.is_some_and(|known| known.contains_key(*name)));
                for (name, value) in others {
                    match says {
                        Value::Bool(true) => {}
                        Value::Bool(false) => faults.push(format!("{at} has {name}, which the contract does not know")),
                        schema => faults.extend(self::faults(value, schema, api, &format!("{at}.{name}"))),
                    }
                }
            }
            other => panic!("{at}: unknown word {other}"),
        }
    }
    faults
}

#[test]
fn every_route_is_in_the_contract_and_no_other() {
    let mut routes = routed(include_str!("../routes.rs"));
    routes.extend(routed(include_str!("../admin.rs")));
    let api = contract();
    let promised: BTreeSet<String> = api["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(routes, promised);
}

#[tokio::test]
async fn every_reply_is_as_the_contract_says() {
    let world = World::serve(config()).await;
    let api = contract();
    // Twice: rates are there from the second look on.
    for target in [
        "/livez",
        "/readyz",
        "/overview",
        "/tree",
        "/tree?shard=000000000003&limit=2",
        "/tree?shard=none",
        "/tree?limit=x",
        "/shards",
        "/epochs",
        "/epochs?shard=none",
        "/sensors?q=s1",
        "/sensors?limit=x",
        "/sensors/s1",
        "/sensors/nobody",
        "/sensors/mute",
        "/alerts",
        "/restarts",
        "/cluster",
        "/config",
        "/openapi.json",
        "/runbooks/none",
        "/page/none",
    ] {
        let (status, reply) = world.json(target).await;
        let path = match target.split('?').next().unwrap() {
            path if path.starts_with("/sensors/") => "/sensors/{id}",
            path if path.starts_with("/runbooks/") => "/runbooks/{name}",
            path if path.starts_with("/page/") => "/page/{file}",
            path => path,
        };
        let answer = &api["paths"][path]["get"]["responses"][status.to_string()];
        let schema = &answer["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{target} answers {status}, which the contract does not know: {reply}");
        let faults = faults(&reply, schema, &api, target);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
    for target in ["/", "/page/app.js", "/page/style.css", "/metrics", "/runbooks/MangroveFenced", "/events"] {
        let answer = world.get(target).await;
        assert_eq!(answer.status(), 200, "{target}");
        assert!(!answer.headers()["content-type"].to_str().unwrap().contains("json"), "{target}");
    }
}

#[test]
fn the_validator_sees_what_is_wrong() {
    let api = contract();
    let schema = json!({"$ref": "#/components/schemas/Check"});
    let fine = json!({"name": "a", "ok": true, "why": ""});
    assert_eq!(faults(&fine, &schema, &api, ""), Vec::<String>::new());
    for wrong in [
        json!([]),
        json!({"name": "a", "ok": true}),
        json!({"name": "a", "ok": 1, "why": ""}),
        json!({"name": "a", "ok": true, "why": "", "x": 1}),
    ] {
        assert!(!faults(&wrong, &schema, &api, "").is_empty(), "{wrong}");
    }
    let finding = json!({"level": "bad", "what": "", "since_ms": 1.5, "view": "tree", "at": null, "runbook": ""});
    assert_eq!(faults(&finding, &json!({"$ref": "#/components/schemas/Finding"}), &api, "").len(), 2);
}
