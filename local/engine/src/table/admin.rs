//! Tables, indices, tags, and settings that are kept.

use serde_json::{Map, Value, json};

use super::keys::{Definition, definitions, described, elements};
use super::{Asking, ContinuousBackups, Index, Table, Tables, Tag, Throughput, TimeToLive, name_of, not_found};
use crate::{Place, Refusal};

const TABLES_PER_PAGE: usize = 100;
const ON_DEMAND: &str = "PAY_PER_REQUEST";

impl Tables {
    pub(super) fn on_admin(
        &mut self,
        asking: Asking<'_>,
        operation: &str,
        request: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        match operation {
            "CreateTable" => self.on_create(asking, request),
            "DeleteTable" => self.on_delete(asking, request),
            "DescribeTable" => Ok(json!({ "Table": self.any_table(request)?.described(asking) })),
            "ListTables" => Ok(self.listed(request)),
            "UpdateTable" => self.on_update(asking, request),
            "TagResource" | "UntagResource" | "ListTagsOfResource" => self.on_tags(operation, request),
            "UpdateTimeToLive" => self.on_time_to_live(asking, request),
            "DescribeTimeToLive" => self.described_time_to_live(asking, request),
            "UpdateContinuousBackups" | "DescribeContinuousBackups" => self.on_backups(asking, request),
            "DescribeLimits" => Ok(json!({
                "AccountMaxReadCapacityUnits": 80_000, "AccountMaxWriteCapacityUnits": 80_000,
                "TableMaxReadCapacityUnits": 40_000, "TableMaxWriteCapacityUnits": 40_000,
            })),
            _ => {
                let address = format!("dynamodb.{}.amazonaws.com", asking.place.region);
                Ok(json!({ "Endpoints": [{ "Address": address, "CachePeriodInMinutes": 1440 }] }))
            }
        }
    }

    fn on_create(&mut self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let name = name_of(request)?;
        if self.tables.contains_key(name) {
            let message = format!("Table already exists: {name}");
            return Err(Refusal::new(400, "ResourceInUseException", message));
        }
        let get = |name: &str| request.get(name).unwrap_or(&Value::Null);
        let mut table = Table::new(asking.place, name);
        table.key_schema = elements(get("KeySchema"))?;
        table.attribute_definitions = definitions(get("AttributeDefinitions"))?;
        table.global_secondary_index = indices(get("GlobalSecondaryIndexes"))?;
        table.local_secondary_index = indices(get("LocalSecondaryIndexes"))?;
        table.bill(request)?;
        table.check_definitions()?;
        (table.created_ms, table.active_at_ms) = (asking.now_ms, asking.now_ms + asking.habits.creating_ms);
        let (arn, answer) = (table.arn.clone(), json!({ "TableDescription": table.described(asking) }));
        self.tables.insert(name.to_owned(), table);
        self.tag(&arn, get("Tags"));
        Ok(answer)
    }

    fn on_delete(&mut self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let name = name_of(request)?;
        let table = self.tables.remove(name).ok_or_else(|| not_found(name))?;
        self.tags.remove(&table.arn);
        self.ttl_configs.remove(name);
        self.continuous_backups.remove(name);
        let mut described = table.described(asking);
        described["TableStatus"] = "DELETING".into();
        Ok(json!({ "TableDescription": described }))
    }

    fn on_update(&mut self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let table = self.table_mut(asking, name_of(request)?)?;
        let mut changed = Table { rows: Default::default(), history: Vec::new(), ..table.outline() };
        for definition in definitions(request.get("AttributeDefinitions").unwrap_or(&Value::Null))? {
            changed.attribute_definitions.retain(|old| old.attribute_name != definition.attribute_name);
            changed.attribute_definitions.push(definition);
        }
        for update in request.get("GlobalSecondaryIndexUpdates").and_then(Value::as_array).into_iter().flatten() {
            let delete = update["Delete"]["IndexName"].as_str();
            changed.global_secondary_index.retain(|index| Some(index.index_name.as_str()) != delete);
            if update["Create"].is_object() {
                changed.global_secondary_index.push(index(&update["Create"])?);
            }
        }
        let used = changed.used_names();
        changed.attribute_definitions.retain(|definition| used.contains(&definition.attribute_name));
        if request.contains_key("BillingMode") || request.contains_key("ProvisionedThroughput") {
            changed.bill(request)?;
        }
        changed.check_definitions()?;
        (changed.rows, changed.history) = (std::mem::take(&mut table.rows), std::mem::take(&mut table.history));
        *table = changed;
        Ok(json!({ "TableDescription": table.described(asking) }))
    }

    fn listed(&self, request: &Map<String, Value>) -> Value {
        let start = request.get("ExclusiveStartTableName").and_then(Value::as_str).unwrap_or("");
        let n_max = request.get("Limit").and_then(Value::as_u64).map_or(TABLES_PER_PAGE, |n| n as usize);
        let n_max = n_max.clamp(1, TABLES_PER_PAGE);
        let mut names: Vec<&str> =
            self.tables.keys().map(String::as_str).filter(|name| *name > start).take(n_max + 1).collect();
        let more = names.len() > n_max;
        names.truncate(n_max);
        let mut answer = json!({ "TableNames": names });
        if let (true, Some(last)) = (more, names.last()) {
            answer["LastEvaluatedTableName"] = (*last).into();
        }
        answer
    }

    fn on_tags(&mut self, operation: &str, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let arn = request.get("ResourceArn").and_then(Value::as_str).unwrap_or_default();
        if !self.tables.values().any(|table| table.arn == arn) {
            return Err(not_found(arn));
        }
        let get = |name: &str| request.get(name).unwrap_or(&Value::Null);
        match operation {
            "TagResource" => self.tag(arn, get("Tags")),
            "UntagResource" => {
                let keys: Vec<&str> =
                    get("TagKeys").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                self.tags.entry(arn.to_owned()).or_default().retain(|tag| !keys.contains(&tag.key.as_str()));
            }
            _ => {
                let tags = self.tags.get(arn).map(Vec::as_slice).unwrap_or_default();
                let tag = |tag: &Tag| json!({ "Key": tag.key, "Value": tag.value });
                return Ok(json!({ "Tags": tags.iter().map(tag).collect::<Vec<_>>() }));
            }
        }
        Ok(json!({}))
    }

    fn tag(&mut self, arn: &str, tags: &Value) {
        for tag in tags.as_array().into_iter().flatten() {
            let text = |name: &str| tag[name].as_str().unwrap_or_default().to_owned();
            let tags = self.tags.entry(arn.to_owned()).or_default();
            tags.retain(|old| old.key != text("Key"));
            tags.push(Tag { key: text("Key"), value: text("Value") });
        }
    }

    fn on_time_to_live(&mut self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let name = self.table(asking, request)?.name.clone();
        let wanted = request.get("TimeToLiveSpecification").unwrap_or(&Value::Null);
        let (Some(attribute), Some(enabled)) = (wanted["AttributeName"].as_str(), wanted["Enabled"].as_bool()) else {
            return Err(Refusal::validation("TimeToLiveSpecification needs AttributeName and Enabled"));
        };
        let answer = json!({ "TimeToLiveSpecification": wanted });
        self.ttl_configs.insert(name, TimeToLive { attribute_name: attribute.to_owned(), enabled });
        Ok(answer)
    }

    fn described_time_to_live(&self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let found = self.ttl_configs.get(&self.table(asking, request)?.name).filter(|found| found.enabled);
        Ok(json!({ "TimeToLiveDescription": match found {
            Some(found) => json!({ "TimeToLiveStatus": "ENABLED", "AttributeName": found.attribute_name }),
            None => json!({ "TimeToLiveStatus": "DISABLED" }),
        } }))
    }

    fn on_backups(&mut self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let name = self.table(asking, request)?.name.clone();
        if let Some(wanted) = request.get("PointInTimeRecoverySpecification") {
            let point_in_time_recovery_enabled = wanted["PointInTimeRecoveryEnabled"] == true;
            self.continuous_backups.insert(name.clone(), ContinuousBackups { point_in_time_recovery_enabled });
        }
        let enabled = self.continuous_backups.get(&name).is_some_and(|found| found.point_in_time_recovery_enabled);
        let status = if enabled { "ENABLED" } else { "DISABLED" };
        let recovery = json!({ "PointInTimeRecoveryStatus": status });
        let described = json!({ "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery });
        Ok(json!({ "ContinuousBackupsDescription": described }))
    }

    /// A table, whether it can be used yet or not.
    fn any_table(&self, request: &Map<String, Value>) -> Result<&Table, Refusal> {
        let name = name_of(request)?;
        self.tables.get(name).ok_or_else(|| not_found(name))
    }
}

impl Table {
    fn new(place: Place<'_>, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            arn: format!("{}:table/{name}", place.arns("dynamodb")),
            key_schema: Vec::new(),
            attribute_definitions: Vec::new(),
            billing_mode: ON_DEMAND.to_owned(),
            provisioned_throughput: None,
            created_ms: 0,
            global_secondary_index: Vec::new(),
            local_secondary_index: Vec::new(),
            rows: Default::default(),
            active_at_ms: 0,
            history: Vec::new(),
        }
    }

    /// The table without its rows.
    fn outline(&self) -> Self {
        Self {
            name: self.name.clone(),
            arn: self.arn.clone(),
            key_schema: self.key_schema.clone(),
            attribute_definitions: self.attribute_definitions.clone(),
            billing_mode: self.billing_mode.clone(),
            global_secondary_index: self.global_secondary_index.clone(),
            local_secondary_index: self.local_secondary_index.clone(),
            rows: Default::default(),
            history: Vec::new(),
            ..*self
        }
    }

    fn bill(&mut self, request: &Map<String, Value>) -> Result<(), Refusal> {
        let wanted = request.get("BillingMode").and_then(Value::as_str).unwrap_or("PROVISIONED");
        let units = |name: &str| request.get("ProvisionedThroughput").and_then(|throughput| throughput[name].as_i64());
        self.billing_mode = wanted.to_owned();
        self.provisioned_throughput = match (wanted, units("ReadCapacityUnits"), units("WriteCapacityUnits")) {
            (ON_DEMAND, None, None) => None,
            ("PROVISIONED", Some(read_capacity_units), Some(write_capacity_units)) => {
                Some(Throughput { read_capacity_units, write_capacity_units })
            }
            _ => {
                return Err(Refusal::validation(
                    "BillingMode must be PAY_PER_REQUEST, or PROVISIONED with ReadCapacityUnits and WriteCapacityUnits",
                ));
            }
        };
        Ok(())
    }

    /// The attributes that keys are of.
    fn used_names(&self) -> Vec<String> {
        let of_indices = self.indices().flat_map(|index| &index.key_schema);
        self.key_schema.iter().chain(of_indices).map(|element| element.attribute_name.clone()).collect()
    }

    fn check_definitions(&self) -> Result<(), Refusal> {
        let used = self.used_names();
        let defined: Vec<&String> = self.attribute_definitions.iter().map(|defined| &defined.attribute_name).collect();
        if used.iter().any(|name| !defined.contains(&name)) || defined.iter().any(|name| !used.contains(name)) {
            return Err(Refusal::validation(
                "One or more parameter values were invalid: AttributeDefinitions must have the attributes of all keys and no \
                 others",
            ));
        }
        Ok(())
    }

    fn described(&self, asking: Asking<'_>) -> Value {
        let definition = |defined: &Definition| json!({ "AttributeName": defined.attribute_name, "AttributeType": defined.attribute_type });
        let units = |units: fn(Throughput) -> i64| self.provisioned_throughput.map_or(0, units);
        let mut described = json!({
            "TableName": self.name,
            "TableArn": self.arn,
            "TableStatus": if self.active_at_ms <= asking.now_ms { "ACTIVE" } else { "CREATING" },
            "CreationDateTime": self.created_ms as f64 / 1_000.0,
            "KeySchema": described(&self.key_schema),
            "AttributeDefinitions": self.attribute_definitions.iter().map(definition).collect::<Vec<_>>(),
            "BillingModeSummary": { "BillingMode": self.billing_mode },
            "ProvisionedThroughput": {
                "ReadCapacityUnits": units(|throughput| throughput.read_capacity_units),
                "WriteCapacityUnits": units(|throughput| throughput.write_capacity_units),
                "NumberOfDecreasesToday": 0,
            },
            "DeletionProtectionEnabled": false,
            "ItemCount": self.rows.len(),
            "TableSizeBytes": self.rows.values().map(super::value::item_bytes).sum::<usize>(),
        });
        for (name, indices) in [
            ("GlobalSecondaryIndexes", &self.global_secondary_index),
            ("LocalSecondaryIndexes", &self.local_secondary_index),
        ] {
            if !indices.is_empty() {
                described[name] = indices.iter().map(|index| self.described_index(index)).collect();
            }
        }
        described
    }

    fn described_index(&self, index: &Index) -> Value {
        let mut projection = json!({ "ProjectionType": index.projection_type });
        if !index.non_key_attributes.is_empty() {
            projection["NonKeyAttributes"] = json!(index.non_key_attributes);
        }
        json!({
            "IndexName": index.index_name,
            "IndexArn": format!("{}/index/{}", self.arn, index.index_name),
            "IndexStatus": "ACTIVE",
            "KeySchema": described(&index.key_schema),
            "Projection": projection,
        })
    }
}

fn indices(asked: &Value) -> Result<Vec<Index>, Refusal> {
    asked.as_array().into_iter().flatten().map(index).collect()
}

fn index(asked: &Value) -> Result<Index, Refusal> {
    let projection = &asked["Projection"];
    let more = projection["NonKeyAttributes"].as_array().into_iter().flatten();
    let index_name = asked["IndexName"].as_str().ok_or_else(|| Refusal::validation("an index needs IndexName"))?;
    Ok(Index {
        index_name: index_name.to_owned(),
        key_schema: elements(&asked["KeySchema"])?,
        projection_type: projection["ProjectionType"].as_str().unwrap_or("ALL").to_owned(),
        non_key_attributes: more.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}
