//! The local cloud through the real SDKs, over real sockets, on a folder of its own per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod before;
mod command_line;
mod damage;
mod faults;
mod hostile;
mod kill;
mod kinesis;
mod objects;
mod reshard;
mod restart;
mod scale;
mod strategy;
mod tables;
mod topics;
#[cfg(feature = "warehouse")]
mod warehouse;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::Credentials;
use mangrove_local::{LocalCloud, LocalOptions};
use tempfile::TempDir;

/// A free loopback port.
fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn options(data_dir: &Path) -> LocalOptions {
    LocalOptions { faults: true, ..LocalOptions::new(any_port(), data_dir.to_owned()) }
}

/// A running cloud and the SDKs pointed at it.
struct World {
    dir: TempDir,
    cloud: LocalCloud,
    sdk: SdkConfig,
}

impl World {
    async fn new() -> World {
        World::on(tempfile::tempdir().unwrap()).await
    }

    async fn on(dir: TempDir) -> World {
        let cloud = LocalCloud::start(options(dir.path())).await.unwrap();
        let sdk = sdk(&cloud.endpoint_url()).await;
        World { dir, cloud, sdk }
    }

    /// Drops the cloud without stopping it and opens the folder again.
    async fn reopened(self) -> World {
        let World { dir, cloud, sdk: _ } = self;
        drop(cloud);
        World::on(dir).await
    }

    fn kinesis(&self) -> aws_sdk_kinesis::Client {
        aws_sdk_kinesis::Client::new(&self.sdk)
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        s3(&self.sdk)
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    #[cfg(feature = "warehouse")]
    fn redshift(&self) -> aws_sdk_redshiftdata::Client {
        aws_sdk_redshiftdata::Client::new(&self.sdk)
    }

    fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.sdk)
    }
}

/// The SDK as a user configures it: an endpoint, a region and any credentials.
async fn sdk(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("any", "thing", None, None, "test"))
        .load()
        .await
}

fn s3(sdk: &SdkConfig) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(sdk).force_path_style(true).build())
}
