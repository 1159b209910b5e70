//! The Data API's operations, JSON in and out.
//!
//! **Owns** the names and the limits of the API.
//! **Promises** the API's own error codes.
//! **Fails** per request.
//! **Not here**: parameters of statements and sessions kept between requests; both are refused, not ignored.

mod show;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::Shared;
use crate::statements::{Refused, Request, Status};

const SQL_BYTES_MAX: usize = 100_000;
const BATCH_MAX: usize = 40;
const WAIT_SECONDS_MAX: u64 = 30;
const NAME_BYTES_MAX: usize = 500;
const LIST_DEFAULT: usize = 100;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The code of an error.
    pub error: Option<&'static str>,
    /// The body, JSON.
    pub body: String,
}

/// Why a request is refused.
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

type Answered = Result<String, Refusal>;

fn validation(message: impl Into<String>) -> Refusal {
    Refusal { status: 400, code: "ValidationException", message: message.into() }
}

fn not_found(message: impl Into<String>) -> Refusal {
    Refusal { status: 400, code: "ResourceNotFoundException", message: message.into() }
}

pub(crate) fn handle(shared: &Shared, operation: &str, body: &[u8]) -> Answer {
    let answered = match operation {
        "ExecuteStatement" => execute(shared, body),
        "BatchExecuteStatement" => batch_execute(shared, body),
        "DescribeStatement" => describe(shared, body),
        "GetStatementResult" => result(shared, body),
        "CancelStatement" => cancel(shared, body),
        "ListStatements" => list(shared, body),
        "ListDatabases" => Ok(json!({ "Databases": ["warehouse"] }).to_string()),
        _ => Err(Refusal {
            status: 400,
            code: "UnknownOperationException",
            message: format!("the local cloud's warehouse has no operation {operation}"),
        }),
    };
    match answered {
        Ok(body) => Answer { status: 200, error: None, body },
        Err(Refusal { status, code, message }) => {
            let body = json!({ "__type": code, "message": message, "Message": message }).to_string();
            Answer { status, error: Some(code), body }
        }
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| validation(format!("the request: {error}")))
}

/// Where a statement is to run, and how it is called.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Submission {
    cluster_identifier: Option<String>,
    workgroup_name: Option<String>,
    database: Option<String>,
    db_user: Option<String>,
    secret_arn: Option<String>,
    statement_name: Option<String>,
    client_token: Option<String>,
    wait_time_seconds: Option<u64>,
    parameters: Option<Value>,
    session_id: Option<String>,
    session_keep_alive_seconds: Option<u64>,
    result_format: Option<String>,
    execution_mode: Option<String>,
    sql: Option<String>,
    sqls: Option<Vec<String>>,
}

impl Submission {
    fn target(&self) -> Result<Map<String, Value>, Refusal> {
        let given = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        match (given(&self.cluster_identifier), given(&self.workgroup_name)) {
            (true, false) if !given(&self.db_user) && !given(&self.secret_arn) => {
                return Err(validation("DbUser or SecretArn is needed with ClusterIdentifier"));
            }
            (true, true) => return Err(validation("only one of ClusterIdentifier and WorkgroupName can be given")),
            (false, false) => return Err(validation("ClusterIdentifier or WorkgroupName is needed")),
            (true, false) | (false, true) => {}
        }
        if !given(&self.database) {
            return Err(validation("Database must not be empty"));
        }
        let unknown = [
            (self.parameters.as_ref().is_some_and(|value| !value.is_null()), "Parameters"),
            (self.session_id.is_some() || self.session_keep_alive_seconds.is_some(), "sessions"),
            (self.result_format.as_deref().is_some_and(|format| format != "JSON"), "ResultFormat CSV"),
            (self.execution_mode.as_deref().is_some_and(|mode| mode != "TRANSACTION"), "ExecutionMode AUTO_COMMIT"),
        ];
        if let Some((_, what)) = unknown.iter().find(|(asked, _)| *asked) {
            return Err(validation(format!("the local cloud's warehouse has no {what}")));
        }
        let fields = [
            ("ClusterIdentifier", &self.cluster_identifier),
            ("WorkgroupName", &self.workgroup_name),
            ("Database", &self.database),
            ("DbUser", &self.db_user),
            ("SecretArn", &self.secret_arn),
        ];
        let told = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))));
        Ok(told.collect())
    }

    fn patience(&self) -> Result<Duration, Refusal> {
        patience(self.wait_time_seconds)
    }
}

fn patience(seconds: Option<u64>) -> Result<Duration, Refusal> {
    match seconds {
        None => Ok(Duration::ZERO),
        Some(seconds) if (1..=WAIT_SECONDS_MAX).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(validation(format!("WaitTimeSeconds must be between 1 and {WAIT_SECONDS_MAX}"))),
    }
}

fn execute(shared: &Shared, body: &[u8]) -> Answered {
    let mut submission: Submission = parsed(body)?;
    let sql = submission.sql.take().ok_or_else(|| validation("Sql is needed"))?;
    submit(shared, &submission, vec![sql], false)
}

fn batch_execute(shared: &Shared, body: &[u8]) -> Answered {
    let mut submission: Submission = parsed(body)?;
    let sqls = submission.sqls.take().ok_or_else(|| validation("Sqls is needed"))?;
    if sqls.is_empty() || sqls.len() > BATCH_MAX {
        return Err(validation(format!("Sqls must have 1 to {BATCH_MAX} statements")));
    }
    submit(shared, &submission, sqls, true)
}

fn submit(shared: &Shared, submission: &Submission, sqls: Vec<String>, is_batch: bool) -> Answered {
    let target = submission.target()?;
    let patience = submission.patience()?;
    if sqls.iter().any(|sql| sql.len() > SQL_BYTES_MAX) {
        return Err(validation(format!(
            "Cannot process request. SQL statement must not be over {SQL_BYTES_MAX} bytes"
        )));
    }
    if sqls.iter().any(String::is_empty) {
        return Err(validation("Sql must not be empty"));
    }
    let (name, token) = (submission.statement_name.clone(), submission.client_token.clone());
    if [&name, &token].into_iter().flatten().any(|text| text.is_empty() || text.len() > NAME_BYTES_MAX) {
        return Err(validation(format!("StatementName and ClientToken must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    if shared.paused.load(Ordering::SeqCst) {
        return Err(validation("Redshift cluster is in PAUSED state: resume it to run statements"));
    }
    let request = Request { sqls: Arc::new(sqls), is_batch, name, token, target };
    let batch = shared.statements.submit(request).map_err(|refused| match refused {
        Refused::QueueFull => Refusal {
            status: 400,
            code: "ActiveStatementsExceededException",
            message: "Active statements exceeded the allowed quota".to_owned(),
        },
        Refused::Closed => {
            Refusal { status: 500, code: "InternalServerException", message: "the warehouse has stopped".to_owned() }
        }
    })?;
    if !patience.is_zero() {
        shared.statements.wait(&batch.id, patience);
    }
    let mut answer = batch.request.target.clone();
    answer.insert("Id".to_owned(), json!(batch.id));
    answer.insert("CreatedAt".to_owned(), json!(batch.created));
    Ok(Value::Object(answer).to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ById {
    id: String,
    next_token: Option<String>,
    wait_time_seconds: Option<u64>,
}

fn no_query(id: &str) -> Refusal {
    not_found(format!("Query {id} does not exist."))
}

fn describe(shared: &Shared, body: &[u8]) -> Answered {
    let ById { id, wait_time_seconds, .. } = parsed(body)?;
    let patience = patience(wait_time_seconds)?;
    let batch = if patience.is_zero() { shared.statements.get(&id) } else { shared.statements.wait(&id, patience) };
    let batch = batch.ok_or_else(|| no_query(&id))?;
    match part_of(&id) {
        None => Ok(show::batch(&batch).to_string()),
        Some(at) => {
            let part = at.and_then(|at| batch.parts.get(at).map(|part| (at, part))).ok_or_else(|| no_query(&id))?;
            Ok(show::described_part(&batch, part.0, part.1).to_string())
        }
    }
}

/// The place of a part, if the id is one of a part: `<id>:<n>`, from 1.
fn part_of(id: &str) -> Option<Option<usize>> {
    let (_, number) = id.split_once(':')?;
    Some(number.parse::<usize>().ok().and_then(|number| number.checked_sub(1)))
}

fn result(shared: &Shared, body: &[u8]) -> Answered {
    let ById { id, next_token, .. } = parsed(body)?;
    let batch = shared.statements.get(&id).ok_or_else(|| no_query(&id))?;
    let at = match part_of(&id) {
        Some(at) => at.ok_or_else(|| no_query(&id))?,
        None if batch.request.is_batch => {
            return Err(validation("the id of a batch has no result: use the ids of its SubStatements"));
        }
        None => 0,
    };
    let none = || not_found("Query does not have result. Please check query status with DescribeStatement.");
    if batch.status != Status::Finished {
        return Err(none());
    }
    let result = batch.parts.get(at).and_then(|part| part.result.as_ref()).ok_or_else(none)?;
    let page = match &next_token {
        None => 0,
        Some(token) => token.parse().map_err(|_| validation("NextToken is not one of this result"))?,
    };
    let records = result.pages.get(page).ok_or_else(|| validation("NextToken is not one of this result"))?;
    let columns = Value::Array(result.columns.to_vec());
    let next = if page + 1 < result.pages.len() { format!(",\"NextToken\":\"{}\"", page + 1) } else { String::new() };
    let n_rows = result.n_rows;
    Ok(format!("{{\"ColumnMetadata\":{columns},\"Records\":[{records}],\"TotalNumRows\":{n_rows}{next}}}"))
}

fn cancel(shared: &Shared, body: &[u8]) -> Answered {
    let ById { id, .. } = parsed(body)?;
    let cancelled = shared.statements.cancel(&id).ok_or_else(|| no_query(&id))?;
    // It may wait for a lock.
    shared.locks.wake();
    if !cancelled {
        return Err(validation("Could not cancel a query that is already in a terminal state"));
    }
    Ok(json!({ "Status": true }).to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    max_results: Option<usize>,
    next_token: Option<String>,
    statement_name: Option<String>,
    status: Option<String>,
}

fn list(shared: &Shared, body: &[u8]) -> Answered {
    let Listing { max_results, next_token, statement_name, status } = parsed(body)?;
    let n = max_results.unwrap_or(LIST_DEFAULT);
    if n > LIST_DEFAULT {
        return Err(validation(format!("MaxResults must be between 0 and {LIST_DEFAULT}")));
    }
    let from: usize = match next_token {
        None => 0,
        Some(token) => token.parse().map_err(|_| validation("NextToken is not one of a list"))?,
    };
    let wanted = |batch: &crate::statements::Batch| {
        let name = statement_name
            .as_deref()
            .is_none_or(|name| batch.request.name.as_deref().is_some_and(|own| own.starts_with(name)));
        let status = status.as_deref().is_none_or(|status| status == "ALL" || status == batch.status.as_str());
        name && status
    };
    let all: Vec<_> = shared.statements.list().into_iter().filter(wanted).collect();
    let n = if n == 0 { LIST_DEFAULT } else { n };
    let shown: Vec<Value> = all.iter().skip(from).take(n).map(show::listed).collect();
    let mut answer = json!({ "Statements": shown });
    if from + n < all.len() {
        answer["NextToken"] = json!((from + n).to_string());
    }
    Ok(answer.to_string())
}
