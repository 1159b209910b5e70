//! GOAL    The Data API's requests: what is needed, what is bounded, what is remembered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{World, ask, call, ended, open, run};

fn statement(sql: &str) -> Value {
    json!({ "WorkgroupName": "w", "Database": "d", "Sql": sql })
}

fn with(mut request: Value, key: &str, value: Value) -> Value {
    request[key] = value;
    request
}

#[test]
fn a_wrong_request_is_refused_with_its_reason() {
    let world = World::new();
    let good = statement("SELECT 1");
    let cases = [
        (with(good.clone(), "Database", json!("")), "Database"),
        (with(good.clone(), "WorkgroupName", Value::Null), "WorkgroupName is needed"),
        (with(good.clone(), "ClusterIdentifier", json!("c")), "only one"),
        (json!({ "ClusterIdentifier": "c", "Database": "d", "Sql": "SELECT 1" }), "DbUser"),
        (with(good.clone(), "Sql", json!("")), "empty"),
        (with(good.clone(), "Sql", json!(format!("SELECT '{}'", "x".repeat(100_000)))), "100000 bytes"),
        (with(good.clone(), "WaitTimeSeconds", json!(31)), "between 1 and 30"),
        (with(good.clone(), "Parameters", json!([{ "name": "a", "value": "b" }])), "Parameters"),
        (with(good.clone(), "StatementName", json!("x".repeat(501))), "500 bytes"),
        (with(good.clone(), "Sql", json!(7)), "the request"),
    ];
    for (request, reason) in cases {
        let (status, answer) = call(&world.warehouse, "ExecuteStatement", request.clone());
        assert_eq!((status, answer["__type"].as_str()), (400, Some("ValidationException")), "{request}");
        assert!(answer["message"].as_str().unwrap().contains(reason), "{answer}");
    }
    for sqls in [json!([]), json!(vec!["SELECT 1"; 41])] {
        let request = json!({ "WorkgroupName": "w", "Database": "d", "Sqls": sqls });
        assert_eq!(call(&world.warehouse, "BatchExecuteStatement", request).0, 400);
    }
    assert_eq!(call(&world.warehouse, "Nothing", json!({})).1["__type"], "UnknownOperationException");
    for operation in ["DescribeStatement", "GetStatementResult", "CancelStatement"] {
        let (_, answer) = call(&world.warehouse, operation, json!({ "Id": "nothing" }));
        assert_eq!(answer["__type"], "ResourceNotFoundException");
    }
}

#[test]
fn a_token_submits_once_and_a_name_is_found() {
    let world = World::new();
    world.all(&["CREATE TABLE t (n BIGINT)"]);
    let request =
        with(with(statement("INSERT INTO t VALUES (1)"), "ClientToken", json!("k")), "StatementName", json!("load-7"));
    let first = ask(&world.warehouse, "ExecuteStatement", request.clone());
    assert_eq!(ask(&world.warehouse, "ExecuteStatement", request)["Id"], first["Id"]);
    assert_eq!(ended(&world.warehouse, &first)["ResultRows"], 1);
    assert_eq!(world.rows("SELECT COUNT(*) FROM t"), ["1"]);
    let listed = ask(&world.warehouse, "ListStatements", json!({ "StatementName": "load-", "Status": "FINISHED" }));
    assert_eq!(listed["Statements"][0]["Id"], first["Id"]);
    assert_eq!(listed["Statements"].as_array().unwrap().len(), 1);
}

#[test]
fn results_come_in_pages_with_their_types() {
    let world = World::new();
    let ten = "SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL \
               SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9";
    world.all(&[&format!("CREATE TABLE ten AS {ten}")]);
    let sql = "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS n FROM ten a, ten b, ten c, ten e ORDER BY n";
    let shown = ended(&world.warehouse, &ask(&world.warehouse, "ExecuteStatement", statement(sql)));
    assert_eq!((shown["ResultRows"].as_i64(), shown["HasResultSet"].as_bool()), (Some(10_000), Some(true)));
    let page = ask(&world.warehouse, "GetStatementResult", json!({ "Id": shown["Id"] }));
    assert_eq!((page["Records"].as_array().unwrap().len(), &page["NextToken"]), (1_000, &json!("1")));
    assert_eq!(page["TotalNumRows"], 10_000);
    let all = world.rows(sql);
    assert!(all.iter().enumerate().all(|(n, shown)| *shown == n.to_string()) && all.len() == 10_000);
    let (status, _) = call(&world.warehouse, "GetStatementResult", json!({ "Id": shown["Id"], "NextToken": "99" }));
    assert_eq!(status, 400);

    let typed = "SELECT 1 AS a, CAST(1 AS BIGINT), CAST(1.5 AS DOUBLE PRECISION), 'x', TRUE, DATE '2026-01-01', TIMESTAMP '2026-01-01 00:00:00', CAST(1 AS NUMERIC(5,2))";
    let shown = ended(&world.warehouse, &ask(&world.warehouse, "ExecuteStatement", statement(typed)));
    let page = ask(&world.warehouse, "GetStatementResult", json!({ "Id": shown["Id"] }));
    let types: Vec<&str> =
        page["ColumnMetadata"].as_array().unwrap().iter().map(|column| column["typeName"].as_str().unwrap()).collect();
    assert_eq!(types, ["int4", "int8", "float8", "varchar", "bool", "date", "timestamp", "numeric"]);
    assert_eq!(page["ColumnMetadata"][0]["name"], "a");
    assert_eq!(page["Records"][0][7], json!({ "stringValue": "1.00" }));
}

#[test]
fn what_is_remembered_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), |options| options.statements_max = 3);
    let first = ask(&warehouse, "ExecuteStatement", statement("SELECT 1"));
    ended(&warehouse, &first);
    for _ in 0..3 {
        run(&warehouse, "SELECT 1").unwrap();
    }
    assert_eq!(
        call(&warehouse, "DescribeStatement", json!({ "Id": first["Id"] })).1["__type"],
        "ResourceNotFoundException"
    );
    assert_eq!(ask(&warehouse, "ListStatements", json!({}))["Statements"].as_array().unwrap().len(), 3);
}

#[test]
fn a_queue_has_an_end_and_a_waiting_statement_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), |options| (options.running_max, options.queued_max) = (1, 1));
    let long =
        "SELECT COUNT(*) FROM svv_columns a, svv_columns b, svv_columns c, svv_columns d, svv_columns e, svv_columns f";
    for table in 0..40 {
        run(&warehouse, &format!("CREATE TABLE t{table} (a INT, b INT)")).unwrap();
    }
    let running = ask(&warehouse, "ExecuteStatement", statement(long));
    while ask(&warehouse, "DescribeStatement", json!({ "Id": running["Id"] }))["Status"] == "SUBMITTED" {
        std::thread::yield_now();
    }
    let waiting = ask(&warehouse, "ExecuteStatement", statement("SELECT 1"));
    let (_, refused) = call(&warehouse, "ExecuteStatement", statement("SELECT 2"));
    assert_eq!(refused["__type"], "ActiveStatementsExceededException");
    for submitted in [&waiting, &running] {
        assert_eq!(ask(&warehouse, "CancelStatement", json!({ "Id": submitted["Id"] }))["Status"], true);
        assert_eq!(ended(&warehouse, submitted)["Status"], "ABORTED");
        assert_eq!(call(&warehouse, "CancelStatement", json!({ "Id": submitted["Id"] })).0, 400);
    }
    assert_eq!(run(&warehouse, "SELECT 1").unwrap().len(), 1);
}

#[test]
fn whenever_a_statement_is_cancelled_it_ends() {
    let world = World::new();
    for table in 0..40 {
        world.all(&[&format!("CREATE TABLE t{table} (a INT, b INT)")]);
    }
    let long =
        "SELECT COUNT(*) FROM svv_columns a, svv_columns b, svv_columns c, svv_columns d, svv_columns e, svv_columns f";
    for n in 0..60 {
        let submitted = ask(&world.warehouse, "ExecuteStatement", statement(long));
        // Somewhere between its submission and the middle of it.
        std::thread::sleep(Duration::from_micros(50 * n));
        assert_eq!(ask(&world.warehouse, "CancelStatement", json!({ "Id": submitted["Id"] }))["Status"], true);
        assert_eq!(ended(&world.warehouse, &submitted)["Status"], "ABORTED");
    }
}

#[test]
fn a_paused_warehouse_refuses_and_resumes() {
    let world = World::new();
    let before = ask(&world.warehouse, "ExecuteStatement", with(statement("SELECT 1"), "WaitTimeSeconds", json!(30)));
    world.warehouse.pause(true);
    assert!(world.warehouse.is_paused());
    let (status, answer) = call(&world.warehouse, "ExecuteStatement", statement("SELECT 1"));
    assert!(status == 400 && answer["message"].as_str().unwrap().contains("PAUSED"), "{answer}");
    assert_eq!(ended(&world.warehouse, &before)["Status"], "FINISHED");
    world.warehouse.pause(false);
    assert_eq!(world.rows("SELECT 1"), ["1"]);
}

#[test]
fn whoever_waits_for_a_lock_can_be_cancelled() {
    let world = World::new();
    world.all(&["CREATE TABLE t (a INT)", "CREATE TABLE u (a INT)"]);
    let slow = "INSERT INTO t SELECT 1 FROM svv_columns a, svv_columns b, svv_columns c, svv_columns d, svv_columns e, svv_columns f, svv_columns g";
    for table in 0..40 {
        world.all(&[&format!("CREATE TABLE t{table} (a INT, b INT)")]);
    }
    let batch = |sqls: Value| {
        ask(&world.warehouse, "BatchExecuteStatement", json!({ "WorkgroupName": "w", "Database": "d", "Sqls": sqls }))
    };
    let holder = batch(json!(["LOCK t", slow]));
    let second = |submitted: &Value, at: usize| {
        ask(&world.warehouse, "DescribeStatement", json!({ "Id": submitted["Id"] }))["SubStatements"][at]["Status"]
            .clone()
    };
    while second(&holder, 1) != "STARTED" {
        std::thread::yield_now();
    }
    let waiter = batch(json!(["LOCK TABLE t, u", "INSERT INTO t VALUES (2)"]));
    while second(&waiter, 0) != "STARTED" {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(second(&waiter, 0), "STARTED", "it waits");
    for submitted in [&waiter, &holder] {
        ask(&world.warehouse, "CancelStatement", json!({ "Id": submitted["Id"] }));
        assert_eq!(ended(&world.warehouse, submitted)["Status"], "ABORTED");
    }
    assert_eq!(world.rows("SELECT COUNT(*) FROM t"), ["0"]);
    assert!(world.error("LOCK nothing").contains("does not exist"));
}
