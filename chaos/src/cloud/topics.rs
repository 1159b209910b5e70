//! The topics: SNS' two operations that alerts need.
//!
//! **Promises** what was published is kept in order.

use std::collections::{BTreeMap, BTreeSet};

use local_engine::{Refusal, Reply, Service, escaped};

/// The limit of SNS.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Topics {
    arns: BTreeSet<String>,
    pub(super) published: Vec<String>,
}

impl Topics {
    pub(super) fn new() -> Self {
        Self { arns: BTreeSet::new(), published: Vec::new() }
    }

    pub(super) fn create(&mut self, name: &str) {
        self.arns.insert(arn(name));
    }

    pub(super) fn serve(&mut self, operation: &str, input: &BTreeMap<String, String>) -> Result<Reply, Refusal> {
        let text = |name: &str| input.get(name).map_or("", String::as_str);
        match operation {
            "CreateTopic" => {
                let arn = arn(text("Name"));
                let reply = reply(operation, &format!("<TopicArn>{}</TopicArn>", escaped(&arn)));
                self.arns.insert(arn);
                Ok(reply)
            }
            "Publish" if !self.arns.contains(text("TopicArn")) => {
                Err(Refusal::new(404, "NotFound", "the topic does not exist"))
            }
            "Publish" if text("Message").is_empty() || text("Message").len() > MESSAGE_BYTES_MAX => {
                Err(Refusal::new(400, "InvalidParameter", "the message is empty or too long"))
            }
            "Publish" => {
                self.published.push(text("Message").to_owned());
                Ok(reply(operation, &format!("<MessageId>{}</MessageId>", self.published.len())))
            }
            other => Err(Refusal::unknown(Service::Sns, other)),
        }
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:sns:us-east-1:000000000000:{name}")
}

fn reply(operation: &str, result: &str) -> Reply {
    let result = format!("<{operation}Result>{result}</{operation}Result>");
    let metadata = "<ResponseMetadata><RequestId>simulation</RequestId></ResponseMetadata>";
    Reply::text(format!("<{operation}Response>{result}{metadata}</{operation}Response>"))
}
