//! Faults of a test's own local cloud, set as any client sets them.

use serde_json::{Value, json};

/// The faults of one cloud.
#[derive(Clone, Debug)]
pub struct CloudFaults {
    http: reqwest::Client,
    endpoint_url: String,
}

impl CloudFaults {
    pub fn of(endpoint_url: String) -> Self {
        Self { http: reqwest::Client::new(), endpoint_url }
    }

    /// From now on these rules hold, and no others.
    pub async fn set(&self, seed: u64, rules: &[Value]) {
        let plan = json!({ "seed": seed, "rules": rules });
        self.ask(self.http.put(self.rules()).body(plan.to_string())).await;
    }

    /// How often each rule has struck.
    pub async fn hits(&self) -> Vec<u64> {
        let report = self.ask(self.http.get(self.rules())).await;
        report["rules"].as_array().unwrap().iter().map(|rule| rule["hits"].as_u64().unwrap()).collect()
    }

    /// No more faults; how often each rule has struck.
    pub async fn end(&self) -> Vec<u64> {
        let hits = self.hits().await;
        self.ask(self.http.delete(self.rules())).await;
        hits
    }

    /// Refuses statements like a paused warehouse, or takes them again.
    pub async fn pause_warehouse(&self, paused: bool) {
        let url = format!("{}/_mangrove/warehouse", self.endpoint_url);
        let said = self.ask(self.http.post(url).body(json!({ "paused": paused }).to_string())).await;
        assert_eq!(said["paused"], paused);
    }

    /// Statements with this in them fail with these words; with none, no statement does.
    pub async fn fail_statements(&self, matching: &str, error: Option<&str>) {
        let url = format!("{}/_mangrove/warehouse", self.endpoint_url);
        let fails: Vec<Value> = error.iter().map(|error| json!({ "match": matching, "error": error })).collect();
        let said = self.ask(self.http.post(url).body(json!({ "fails": fails }).to_string())).await;
        assert_eq!(said["fails"], json!(fails));
    }

    fn rules(&self) -> String {
        format!("{}/_mangrove/faults", self.endpoint_url)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}
