//! The services, and who calls them.

/// A service of the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The stream.
    Kinesis,
    /// The lease table.
    DynamoDb,
    /// The objects.
    S3,
    /// The topics of alerts.
    Sns,
    /// The warehouse.
    Redshift,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 5] = [Self::Kinesis, Self::DynamoDb, Self::S3, Self::Sns, Self::Redshift];

    /// The name, in plans and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kinesis => "kinesis",
            Self::DynamoDb => "dynamodb",
            Self::S3 => "s3",
            Self::Sns => "sns",
            Self::Redshift => "redshift",
        }
    }
}

/// The account, and where.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The region.
    pub region: &'a str,
    /// The account's number.
    pub account: &'a str,
}

impl Place<'_> {
    /// The ARN of what has this name there.
    pub fn arn(self, service: &str, name: &str) -> String {
        format!("{}:{name}", self.arns(service))
    }

    /// What is in front of the names in the ARNs of a service there.
    pub fn arns(self, service: &str) -> String {
        format!("arn:aws:{service}:{}:{}", self.region, self.account)
    }
}

/// One incarnation of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);
