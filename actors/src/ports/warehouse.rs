//! The warehouse: Redshift by its Data API.
//!
//! **Promises** every failure is classified once, by what may be true in the warehouse afterwards ([`WarehouseFailure`]); every
//! wait has an end; a result is read page by page, never as a whole.
//! **Not here**: SQL (`crate::warehouse`), and what to do about a failure.

mod failure;
mod result;

use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::operation::describe_statement::DescribeStatementOutput;
use aws_sdk_redshiftdata::types::StatusString;
use tokio::time::Instant;

pub use self::failure::{WarehouseError, WarehouseFailure};
pub use self::result::{Pages, ResultColumn, ResultPage};
use super::aws::{Failure, classify};
use super::chance::Chance;
use crate::warehouse::Cell;

/// The longest name that the service gives a statement, in bytes.
const NAME_BYTES_MAX: usize = 500;

const POLL_MIN: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_secs(1);
/// Unanswered questions in a row after which the outcome counts as unknown.
const UNANSWERED_MAX: u32 = 5;

/// Where the warehouse runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarehousePlace {
    /// A Redshift Serverless workgroup.
    Workgroup(String),
    /// A provisioned cluster.
    Cluster(String),
}

/// Which database of which warehouse, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarehouseTarget {
    /// Where it runs.
    pub place: WarehousePlace,
    /// The database.
    pub database: String,
    /// The database user of a cluster; none uses the IAM identity or the secret.
    pub db_user: Option<String>,
    /// The secret with the credentials; none uses the IAM identity.
    pub secret_arn: Option<String>,
}

impl std::fmt::Display for WarehouseTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (WarehousePlace::Workgroup(name) | WarehousePlace::Cluster(name)) = &self.place;
        write!(f, "{name}/{}", self.database)
    }
}

/// One database of one warehouse. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Warehouse {
    client: Client,
    target: WarehouseTarget,
    statement_timeout: Duration,
    chance: Chance,
}

/// A statement, or a batch, that ended well.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its id, for its result.
    pub id: String,
    /// Whether it has a result.
    pub has_result: bool,
    /// Rows of the result, or rows that were changed.
    pub rows: u64,
    /// How long it ran, as the service says.
    pub took: Duration,
    /// The statements of a batch, in order; empty for a single statement.
    pub parts: Vec<BatchStatement>,
}

/// One statement of a batch.
#[derive(Clone, Debug)]
pub struct BatchStatement {
    /// Its id, for its result.
    pub id: String,
    /// Whether it has a result.
    pub has_result: bool,
    /// Rows of the result, or rows that were changed.
    pub rows: u64,
}

impl Warehouse {
    /// The database of this target. A statement that runs for longer than `statement_timeout` is cancelled, and its
    /// outcome is unknown.
    pub fn new(config: &SdkConfig, target: WarehouseTarget, statement_timeout: Duration) -> Self {
        Self { client: Client::new(config), target, statement_timeout, chance: Chance::system() }
    }

    /// The same with other dice.
    pub fn with(self, chance: Chance) -> Self {
        Self { chance, ..self }
    }

    /// Where this is.
    pub fn target(&self) -> &WarehouseTarget {
        &self.target
    }

    /// Runs one statement to its end. `name` is what people see in the list of statements.
    pub async fn execute(&self, sql: &str, name: &str) -> Result<Done, WarehouseError> {
        let id = self.submit(sql, name).await?;
        self.end(&id, name).await
    }

    /// Hands one statement over; returns its id, by which it can be cancelled while [`end`](Self::end) waits.
    pub async fn submit(&self, sql: &str, name: &str) -> Result<String, WarehouseError> {
        let (workgroup, cluster) = self.place();
        let request = self.client.execute_statement().sql(sql).database(&self.target.database);
        let request = request
            .set_workgroup_name(workgroup)
            .set_cluster_identifier(cluster)
            .set_db_user(self.target.db_user.clone())
            .set_secret_arn(self.target.secret_arn.clone())
            .statement_name(shortened(name))
            .client_token(self.chance.nonce());
        let sent = request.send().await.map_err(|e| WarehouseError::of_call(classify(format!("run {name}"), e)))?;
        sent.id.ok_or_else(|| without_id(name))
    }

    /// Waits for the end of a statement that was submitted.
    pub async fn end(&self, id: &str, name: &str) -> Result<Done, WarehouseError> {
        self.wait(Some(id), name).await
    }

    /// Runs statements in one transaction to its end: all of them, or none.
    pub async fn batch(&self, statements: &[String], name: &str) -> Result<Done, WarehouseError> {
        let (workgroup, cluster) = self.place();
        let request = self.client.batch_execute_statement().database(&self.target.database);
        // No execution mode is set: the default is one transaction, anything else would be none.
        let request = request
            .set_sqls(Some(statements.to_vec()))
            .set_workgroup_name(workgroup)
            .set_cluster_identifier(cluster)
            .set_db_user(self.target.db_user.clone())
            .set_secret_arn(self.target.secret_arn.clone())
            .statement_name(shortened(name))
            .client_token(self.chance.nonce());
        let sent = request.send().await.map_err(|e| WarehouseError::of_call(classify(format!("run {name}"), e)))?;
        self.wait(sent.id(), name).await
    }

    /// The result of a statement, page by page.
    pub fn pages(&self, id: &str) -> Pages {
        Pages::new(self.client.clone(), id)
    }

    /// Runs a query and reads its result, which must not have more rows than `rows_max`.
    pub async fn query(&self, sql: &str, name: &str, rows_max: usize) -> Result<Vec<Vec<Cell>>, WarehouseError> {
        let done = self.execute(sql, name).await?;
        self.pages(&done.id).all(rows_max).await
    }

    /// Asks the service to end a statement. That it will is not sure.
    pub async fn cancel(&self, id: &str) -> Result<(), WarehouseError> {
        let sent = self.client.cancel_statement().id(id).send().await;
        sent.map(drop).map_err(|e| WarehouseError::of_call(classify(format!("cancel statement {id}"), e)))
    }

    fn place(&self) -> (Option<String>, Option<String>) {
        match &self.target.place {
            WarehousePlace::Workgroup(name) => (Some(name.clone()), None),
            WarehousePlace::Cluster(name) => (None, Some(name.clone())),
        }
    }

    /// Asks until the statement has ended, ever more rarely.
    async fn wait(&self, id: Option<&str>, name: &str) -> Result<Done, WarehouseError> {
        let action = || format!("run {name}");
        let Some(id) = id else {
            return Err(without_id(name));
        };
        let deadline = Instant::now() + self.statement_timeout;
        let (mut pause, mut unanswered) = (POLL_MIN, 0);
        loop {
            match self.client.describe_statement().id(id).send().await {
                Ok(described) => {
                    unanswered = 0;
                    if let Some(ended) = ended(action, described) {
                        return ended;
                    }
                }
                Err(error) => {
                    let error = classify(action(), error);
                    unanswered += 1;
                    // Whatever the answer is: the statement was accepted and may be running.
                    if unanswered >= UNANSWERED_MAX || matches!(error.failure, Failure::NotFound | Failure::Refused) {
                        return Err(WarehouseError::new(error.action, WarehouseFailure::Unknown, error.message));
                    }
                }
            }
            if Instant::now() >= deadline {
                let message = format!("not ended after {:?}", self.statement_timeout);
                // If it ends all the same, the ledger will say so.
                let message = match self.cancel(id).await {
                    Ok(()) => format!("{message}; cancelled"),
                    Err(error) => format!("{message}; {error}"),
                };
                return Err(WarehouseError::new(action(), WarehouseFailure::Unknown, message));
            }
            tokio::time::sleep(self.chance.spread(pause)).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }
}

fn without_id(name: &str) -> WarehouseError {
    WarehouseError::new(format!("run {name}"), WarehouseFailure::Unknown, "the service gave no statement id")
}

/// What became of the statement; none while it runs.
fn ended(action: impl Fn() -> String, described: DescribeStatementOutput) -> Option<Result<Done, WarehouseError>> {
    let parts = described.sub_statements();
    match described.status() {
        Some(StatusString::Finished) => {
            let part = |part: &aws_sdk_redshiftdata::types::SubStatementData| BatchStatement {
                id: part.id().to_owned(),
                has_result: part.has_result_set().unwrap_or(false),
                rows: rows(part.result_rows()),
            };
            Some(Ok(Done {
                id: described.id().to_owned(),
                has_result: described.has_result_set().unwrap_or(false),
                rows: rows(described.result_rows()),
                took: Duration::from_nanos(u64::try_from(described.duration()).unwrap_or(0)),
                parts: parts.iter().map(part).collect(),
            }))
        }
        Some(StatusString::Failed) => {
            let failed = parts.iter().position(|part| part.error().is_some_and(|error| !error.is_empty()));
            let own = failed.and_then(|n| parts[n].error());
            let message = own.or(described.error()).unwrap_or("the statement failed, and nothing says why");
            Some(Err(WarehouseError { statement: failed, ..WarehouseError::of_statement(action(), message) }))
        }
        Some(StatusString::Aborted) => {
            let message = described.error().unwrap_or("the statement was aborted");
            Some(Err(WarehouseError::new(action(), WarehouseFailure::Unavailable, message)))
        }
        _ => None,
    }
}

/// The service says -1 where there is nothing to count.
fn rows(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn shortened(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(NAME_BYTES_MAX).collect()
}
