//! The topics of one region: SNS, without anybody to deliver to.
//!
//! **Owns** the topics, in the form in which the local cloud saves them.
//! **Promises** nothing is answered with 200 and not done. A message is taken and forgotten, because nobody can
//! subscribe: Subscribe is refused. Who wants messages reads them in the request.
//! A FIFO topic demands a group, and knows a message for five minutes by its deduplication id, or by its content if it is
//! made so.
//! **Fails** with SNS's `InvalidAction` or `InvalidParameter`.
//! **Not here**: deliveries, permissions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::form::{Form, members, pairs};
use crate::{Place, Refusal, Reply, escaped};

/// As the service.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
const NAME_CHARS_MAX: usize = 256;
const BATCH_MAX: usize = 10;
/// How long a FIFO topic knows a message.
const KNOWN_MS: i64 = 5 * 60 * 1_000;
const FIFO: &str = "FifoTopic";
const BY_CONTENT: &str = "ContentBasedDeduplication";

/// Each action with the parameters that it heeds, besides `Action` and `Version`.
const ACTIONS: &[(&str, &[&str])] = &[
    ("CreateTopic", &["Name", "Tags", "Attributes"]),
    ("DeleteTopic", &["TopicArn"]),
    ("ListTopics", &[]),
    ("GetTopicAttributes", &["TopicArn"]),
    ("SetTopicAttributes", &["TopicArn", "AttributeName", "AttributeValue"]),
    ("ListSubscriptions", &[]),
    ("ListSubscriptionsByTopic", &["TopicArn"]),
    (
        "Publish",
        &[
            "TopicArn",
            "Message",
            "Subject",
            "MessageAttributes",
            "MessageStructure",
            "MessageGroupId",
            "MessageDeduplicationId",
        ],
    ),
    ("PublishBatch", &["TopicArn", "PublishBatchRequestEntries"]),
    ("TagResource", &["ResourceArn", "Tags"]),
    ("UntagResource", &["ResourceArn", "TagKeys"]),
    ("ListTagsForResource", &["ResourceArn"]),
];

/// The topics, by ARN.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Topics {
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
    /// So that no two messages of one moment have one id.
    #[serde(skip)]
    n_published: u64,
    /// When a message of a FIFO topic was taken, and under which id, by topic and deduplication id.
    #[serde(skip)]
    taken: BTreeMap<(String, String), (i64, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Topic {
    arn: String,
    name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// Whether a request leaves the topics as they are.
pub fn only_reads(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let action = text.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or("");
    ["Publish", "Get", "List"].iter().any(|prefix| action.starts_with(prefix))
}

/// The fields of a request.
pub fn form(body: &[u8]) -> Form {
    pairs(&String::from_utf8_lossy(body).replace('+', " "))
}

impl Topics {
    /// Makes a topic, and gives its ARN; one that is there stays.
    pub fn create(&mut self, place: Place<'_>, name: &str, tags: BTreeMap<String, String>) -> String {
        let arn = place.arn("sns", name);
        let new = || Topic { arn: arn.clone(), name: name.to_owned(), attributes: attributes(place, &arn, name), tags };
        self.topics.entry(arn.clone()).or_insert_with(new);
        arn
    }

    /// Answers one request.
    pub fn serve(&mut self, place: Place<'_>, now_ms: i64, form: &Form) -> Result<Reply, Refusal> {
        let text = |name: &str| form.get(name).map_or("", String::as_str);
        let action = text("Action");
        understood(action, form)?;
        let result = match action {
            "CreateTopic" => self.on_create(place, text("Name"), form)?,
            "ListTopics" => {
                let arns =
                    self.topics.keys().map(|arn| format!("<member><TopicArn>{}</TopicArn></member>", escaped(arn)));
                format!("<Topics>{}</Topics>", arns.collect::<String>())
            }
            "DeleteTopic" => {
                self.topics.remove(text("TopicArn"));
                String::new()
            }
            "ListSubscriptions" => "<Subscriptions/>".to_owned(),
            "TagResource" | "UntagResource" | "ListTagsForResource" => {
                on_tags(self.topic(text("ResourceArn"))?, action, form)
            }
            _ => self.on_topic(now_ms, text("TopicArn"), action, form)?,
        };
        Ok(written(action, &result))
    }

    fn on_create(&mut self, place: Place<'_>, name: &str, form: &Form) -> Result<String, Refusal> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let (stem, is_fifo) = name.strip_suffix(".fifo").map_or((name, false), |stem| (stem, true));
        if stem.is_empty() || name.len() > NAME_CHARS_MAX || !stem.chars().all(is_part) {
            return Err(invalid("Topic Name"));
        }
        let asked = entries(form, "Attributes");
        if let Some(name) = asked.keys().find(|name| ![FIFO, BY_CONTENT, "DisplayName"].contains(&name.as_str())) {
            return Err(invalid(&format!("Attributes Reason: this cloud does not support {name}")));
        }
        if is_fifo != asked.get(FIFO).is_some_and(|value| value == "true") {
            return Err(invalid(
                "Topic Name: a FIFO topic, and no other, ends in .fifo and has the attribute FifoTopic",
            ));
        }
        let arn = self.create(place, name, tags(form));
        self.topic(&arn)?.attributes.extend(asked);
        Ok(format!("<TopicArn>{}</TopicArn>", escaped(&arn)))
    }

    fn on_topic(&mut self, now_ms: i64, arn: &str, action: &str, form: &Form) -> Result<String, Refusal> {
        let text = |name: &str| form.get(name).map_or("", String::as_str);
        let topic = self.topic(arn)?;
        match action {
            "GetTopicAttributes" => {
                let entries = topic.attributes.iter().map(|(name, value)| {
                    format!("<entry><key>{}</key><value>{}</value></entry>", escaped(name), escaped(value))
                });
                Ok(format!("<Attributes>{}</Attributes>", entries.collect::<String>()))
            }
            "SetTopicAttributes" if text("AttributeName").is_empty() => Err(invalid("AttributeName")),
            "SetTopicAttributes" => {
                topic.attributes.insert(text("AttributeName").to_owned(), text("AttributeValue").to_owned());
                Ok(String::new())
            }
            "Publish" => {
                let id = self.take(now_ms, arn, form)?;
                Ok(format!("<MessageId>{id}</MessageId>"))
            }
            "PublishBatch" => self.on_batch(now_ms, arn, &members(form, "PublishBatchRequestEntries")),
            // ListSubscriptionsByTopic
            _ => Ok("<Subscriptions/>".to_owned()),
        }
    }

    fn on_batch(&mut self, now_ms: i64, arn: &str, entries: &[Form]) -> Result<String, Refusal> {
        if !(1..=BATCH_MAX).contains(&entries.len()) {
            return Err(invalid(&format!("a batch has 1 to {BATCH_MAX} entries")));
        }
        let mut done = String::new();
        for entry in entries {
            let message_id = self.take(now_ms, arn, entry)?;
            let id = escaped(entry.get("Id").map_or("", String::as_str));
            done += &format!("<member><Id>{id}</Id><MessageId>{message_id}</MessageId></member>");
        }
        Ok(format!("<Successful>{done}</Successful><Failed/>"))
    }

    /// Takes a message, and gives its id; of one that a FIFO topic knows, the id of then.
    fn take(&mut self, now_ms: i64, arn: &str, form: &Form) -> Result<String, Refusal> {
        check_message(form)?;
        let text = |name: &str| form.get(name).filter(|value| !value.is_empty()).cloned();
        let (group, key) = (text("MessageGroupId"), text("MessageDeduplicationId"));
        let attributes = &self.topic(arn)?.attributes;
        let has = |name: &str| attributes.get(name).is_some_and(|value| value == "true");
        if !has(FIFO) {
            return match key {
                Some(_) => Err(invalid("MessageDeduplicationId Reason: it is not valid for this topic type")),
                None => Ok(self.message_id(now_ms)),
            };
        }
        let by_content = has(BY_CONTENT).then(|| text("Message")).flatten();
        if group.is_none() {
            return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
        }
        let key = key.or(by_content).ok_or_else(|| {
            invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
        })?;
        self.taken.retain(|_, (at_ms, _)| now_ms - *at_ms < KNOWN_MS);
        if let Some((_, id)) = self.taken.get(&(arn.to_owned(), key.clone())) {
            return Ok(id.clone());
        }
        let id = self.message_id(now_ms);
        self.taken.insert((arn.to_owned(), key), (now_ms, id.clone()));
        Ok(id)
    }

    fn topic(&mut self, arn: &str) -> Result<&mut Topic, Refusal> {
        self.topics.get_mut(arn).ok_or_else(|| Refusal::new(404, "NotFound", "Topic does not exist"))
    }

    /// In the form of those that the service gives.
    fn message_id(&mut self, now_ms: i64) -> String {
        self.n_published += 1;
        format!("{:08x}-{:04x}-4000-8000-{:012x}", now_ms >> 16, now_ms & 0xffff, self.n_published)
    }
}

fn understood(action: &str, form: &Form) -> Result<(), Refusal> {
    let Some((_, heeded)) = ACTIONS.iter().find(|(name, _)| *name == action) else {
        let message = "this cloud does not have this action; it delivers to nobody, so nobody can subscribe";
        return Err(Refusal::new(400, "InvalidAction", message));
    };
    for name in form.keys() {
        let name = name.split('.').next().unwrap_or("");
        if !["Action", "Version"].contains(&name) && !heeded.contains(&name) {
            return Err(invalid(&format!("this cloud does not support {name} of {action}")));
        }
    }
    Ok(())
}

fn check_message(form: &Form) -> Result<(), Refusal> {
    match form.get("Message").map_or(0, String::len) {
        0 => Err(invalid("Empty message")),
        n_bytes if n_bytes > MESSAGE_BYTES_MAX => Err(invalid("Message too long")),
        _ => Ok(()),
    }
}

/// The entries of a map: `Attributes.entry.1.key=a`, `Attributes.entry.1.value=b`.
fn entries(form: &Form, map: &str) -> BTreeMap<String, String> {
    let prefix = format!("{map}.entry.");
    let keys = form.iter().filter_map(|(name, key)| {
        let number = name.strip_prefix(&prefix)?.strip_suffix(".key")?;
        Some((key.clone(), form.get(&format!("{prefix}{number}.value"))?.clone()))
    });
    keys.collect()
}

fn tags(form: &Form) -> BTreeMap<String, String> {
    let text = |tag: &Form, name: &str| tag.get(name).cloned().unwrap_or_default();
    members(form, "Tags").iter().map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
}

fn on_tags(topic: &mut Topic, action: &str, form: &Form) -> String {
    match action {
        "TagResource" => topic.tags.extend(tags(form)),
        "UntagResource" => {
            for key in members(form, "TagKeys").iter().filter_map(|member| member.get("")) {
                topic.tags.remove(key);
            }
        }
        _ => {
            let tags = topic.tags.iter();
            let tags = tags.map(|(key, value)| {
                format!("<member><Key>{}</Key><Value>{}</Value></member>", escaped(key), escaped(value))
            });
            return format!("<Tags>{}</Tags>", tags.collect::<String>());
        }
    }
    String::new()
}

/// What a new topic has. Terraform reads the policies.
fn attributes(place: Place<'_>, arn: &str, name: &str) -> BTreeMap<String, String> {
    let actions = ["GetTopicAttributes", "SetTopicAttributes", "DeleteTopic", "ListSubscriptionsByTopic", "Publish"];
    let policy = json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": actions.map(|action| format!("SNS:{action}")),
            "Resource": arn,
            "Condition": { "StringEquals": { "AWS:SourceOwner": place.account } },
        }],
    });
    let retries = json!({
        "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
        "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear",
    });
    let delivery = json!({ "http": { "defaultHealthyRetryPolicy": retries, "disableSubscriptionOverrides": false } });
    let attributes = [
        ("TopicArn", arn.to_owned()),
        ("DisplayName", name.to_owned()),
        ("Owner", place.account.to_owned()),
        ("Policy", policy.to_string()),
        ("EffectiveDeliveryPolicy", delivery.to_string()),
    ];
    attributes.map(|(name, value)| (name.to_owned(), value)).into()
}

fn invalid(what: &str) -> Refusal {
    Refusal::new(400, "InvalidParameter", format!("Invalid parameter: {what}"))
}

fn written(action: &str, result: &str) -> Reply {
    let metadata = "<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>";
    Reply::text(format!(
        "<{action}Response xmlns=\"https://sns.amazonaws.com/doc/2010-03-31/\">\
         <{action}Result>{result}</{action}Result>{metadata}</{action}Response>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'static> = Place { region: "eu-west-1", account: "123456789012" };

    fn asked(topics: &mut Topics, body: &str) -> Result<String, &'static str> {
        let reply = topics.serve(HERE, 7, &form(body.as_bytes())).map_err(|refusal| refusal.code)?;
        Ok(String::from_utf8(reply.body.to_vec()).unwrap())
    }

    #[test]
    fn tags_and_attributes_are_kept_over_a_save() {
        let mut topics = Topics::default();
        let arn = "arn:aws:sns:eu-west-1:123456789012:alerts";
        let tag = "Tags.member.1.Key=team&Tags.member.1.Value=a%26b";
        assert!(asked(&mut topics, &format!("Action=CreateTopic&Name=alerts&{tag}")).unwrap().contains(arn));
        let set = "AttributeName=DisplayName&AttributeValue=Alerts+%3C1%3E";
        asked(&mut topics, &format!("Action=SetTopicAttributes&TopicArn={arn}&{set}")).unwrap();
        let mut topics: Topics = serde_json::from_str(&serde_json::to_string(&topics).unwrap()).unwrap();
        let tags = asked(&mut topics, &format!("Action=ListTagsForResource&ResourceArn={arn}")).unwrap();
        assert!(tags.contains("<Key>team</Key><Value>a&amp;b</Value>"), "{tags}");
        let read = asked(&mut topics, &format!("Action=GetTopicAttributes&TopicArn={arn}")).unwrap();
        assert!(read.contains("<value>Alerts &lt;1&gt;</value>"), "{read}");
        asked(&mut topics, &format!("Action=UntagResource&ResourceArn={arn}&TagKeys.member.1=team")).unwrap();
        assert!(
            asked(&mut topics, &format!("Action=ListTagsForResource&ResourceArn={arn}"))
                .unwrap()
                .contains("<Tags></Tags>")
        );
        asked(&mut topics, &format!("Action=DeleteTopic&TopicArn={arn}")).unwrap();
        assert_eq!(asked(&mut topics, &format!("Action=Publish&TopicArn={arn}&Message=x")), Err("NotFound"));
    }

    #[test]
    fn a_message_has_an_id_of_its_own_and_a_size() {
        let mut topics = Topics::default();
        let arn = topics.create(HERE, "alerts", BTreeMap::new());
        let publish = |topics: &mut Topics, message: &str| {
            asked(topics, &format!("Action=Publish&TopicArn={arn}&Message={message}"))
        };
        assert_ne!(publish(&mut topics, "x").unwrap(), publish(&mut topics, "x").unwrap());
        assert_eq!(publish(&mut topics, ""), Err("InvalidParameter"));
        assert_eq!(publish(&mut topics, &"x".repeat(MESSAGE_BYTES_MAX + 1)), Err("InvalidParameter"));
        assert!(publish(&mut topics, &"%20".repeat(MESSAGE_BYTES_MAX)).is_ok());
        let entry = |n: u32| {
            let of = format!("PublishBatchRequestEntries.member.{n}");
            format!("&{of}.Id=id-{n}&{of}.Message=m")
        };
        let batch: String = (1..=2).map(entry).collect();
        let done = asked(&mut topics, &format!("Action=PublishBatch&TopicArn={arn}{batch}")).unwrap();
        assert!(done.contains("<Id>id-1</Id>") && done.contains("<Id>id-2</Id>"), "{done}");
        let many: String = (1..=11).map(entry).collect();
        assert_eq!(asked(&mut topics, &format!("Action=PublishBatch&TopicArn={arn}{many}")), Err("InvalidParameter"));
    }

    #[test]
    fn a_fifo_topic_has_groups_and_takes_a_message_once() {
        let mut topics = Topics::default();
        let fifo = "Attributes.entry.1.key=FifoTopic&Attributes.entry.1.value=true";
        assert_eq!(asked(&mut topics, "Action=CreateTopic&Name=a.fifo"), Err("InvalidParameter"));
        assert_eq!(asked(&mut topics, &format!("Action=CreateTopic&Name=a&{fifo}")), Err("InvalidParameter"));
        asked(&mut topics, &format!("Action=CreateTopic&Name=a.fifo&{fifo}")).unwrap();
        let publish = |topics: &mut Topics, more: &str| {
            let arn = "arn:aws:sns:eu-west-1:123456789012:a.fifo";
            asked(topics, &format!("Action=Publish&TopicArn={arn}&Message=x{more}"))
        };
        for refused in ["", "&MessageGroupId=g", "&MessageDeduplicationId=1"] {
            assert_eq!(publish(&mut topics, refused), Err("InvalidParameter"), "{refused}");
        }
        let first = publish(&mut topics, "&MessageGroupId=g&MessageDeduplicationId=1").unwrap();
        assert_eq!(publish(&mut topics, "&MessageGroupId=g&MessageDeduplicationId=1").unwrap(), first);
        assert_ne!(publish(&mut topics, "&MessageGroupId=g&MessageDeduplicationId=2").unwrap(), first);
        let later = format!(
            "Action=Publish&TopicArn=arn:aws:sns:eu-west-1:123456789012:a.fifo&Message=x{}",
            "&MessageGroupId=g&MessageDeduplicationId=1"
        );
        let later = topics.serve(HERE, 7 + KNOWN_MS, &form(later.as_bytes())).unwrap();
        assert_ne!(later.body, first, "five minutes later it is another one");

        let standard = topics.create(HERE, "alerts", BTreeMap::new());
        let to_standard = format!("Action=Publish&TopicArn={standard}&Message=x&MessageDeduplicationId=1");
        assert_eq!(asked(&mut topics, &to_standard), Err("InvalidParameter"));
    }

    #[test]
    fn topics_of_the_builds_before_are_read() {
        // As `winterbaume-sns` has saved them.
        let saved = r#"{"topics":{"arn:aws:sns:eu-west-1:123456789012:alerts":{"arn":"arn:aws:sns:eu-west-1:123456789012:alerts",
            "name":"alerts","attributes":{"DisplayName":"alerts"},"tags":{},"permissions":{},"data_protection_policy":null}},
            "subscriptions":{},"platform_applications":{},"platform_endpoints":{},"sms_sandbox_phone_numbers":[],
            "sms_sandbox_enabled":true,"opted_out_phone_numbers":[]}"#;
        let mut topics: Topics = serde_json::from_str(saved).unwrap();
        assert!(asked(&mut topics, "Action=ListTopics").unwrap().contains(":alerts</TopicArn>"));
    }
}
