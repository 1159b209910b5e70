//! The SDK's configuration for one client of the cloud, with the HTTP client that ends in memory.
//!
//! **Promises** the real SDK: signing, serialisation, timeouts; no retries of its own, as in production.
//! **Not here**: what an answer is (`state`).

use std::fmt;
use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use local_engine::Reply;
use tokio::time::sleep;

use super::state::Answer;
use super::wire::Call;
use super::{ClientId, Cloud, Now};

const ENDPOINT: &str = "http://cloud.sim";

pub(super) fn sdk_config(cloud: Cloud, client: ClientId, now: Now, attempt_timeout: Duration) -> SdkConfig {
    let timeouts =
        TimeoutConfig::builder().operation_attempt_timeout(attempt_timeout).operation_timeout(attempt_timeout).build();
    let connector = SharedHttpConnector::new(Connector { cloud, client, now: now.clone() });
    let credentials = Credentials::new("simulation", "simulation", None, None, "the simulation");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(ENDPOINT)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        // It measures throughput against a clock; here a body is one piece.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .time_source(Wall(now))
        .sleep_impl(TokioSleep::new())
        .build()
}

/// The time that requests are signed with.
struct Wall(Now);

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

impl TimeSource for Wall {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from((self.0)()).unwrap_or(0))
    }
}

#[derive(Clone)]
struct Connector {
    cloud: Cloud,
    client: ClientId,
    now: Now,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.client.0)
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move {
            let call = Call::read(request).await.map_err(ConnectorError::user)?;
            connector.carry(call).await
        })
    }
}

impl Connector {
    /// There, through the service, and back. Dropped on the way there, nothing has happened; a delayed request is the
    /// exception: the network has it, and it will arrive.
    async fn carry(&self, call: Call) -> Result<HttpResponse, ConnectorError> {
        let Some(fate) = self.cloud.state().fate(self.client, &call) else { return pending().await };
        sleep(fate.there).await;
        let back = fate.back;
        let answer = self.cloud.state().serve((self.now)(), self.client, call, fate);
        let reply = match answer {
            Answer::Reply(reply) => Some(reply),
            Answer::Broken => None,
            Answer::Never => pending().await,
            Answer::Later { delay, due_ms, slot } => {
                sleep(delay).await;
                let reply = self.cloud.state().collect(due_ms, &slot);
                match reply {
                    Some(reply) => Some(reply),
                    // Cut off meanwhile.
                    None => pending().await,
                }
            }
        };
        sleep(back).await;
        if self.cloud.state().is_cut_off(self.client) {
            return pending().await;
        }
        match reply {
            Some(reply) => respond(reply),
            None => Err(ConnectorError::io("the connection was reset".into())),
        }
    }
}

fn respond(reply: Reply) -> Result<HttpResponse, ConnectorError> {
    let status = reply.status.try_into().map_err(|error| ConnectorError::user(Box::new(error)))?;
    let mut response = HttpResponse::new(status, reply.body.into());
    for (name, value) in reply.headers {
        response.headers_mut().try_insert(name, value).map_err(|error| ConnectorError::user(Box::new(error)))?;
    }
    Ok(response)
}
