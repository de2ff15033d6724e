//! What every service says about itself: root, health, status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// `GET /`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Root {
    /// The service's title.
    pub message: String,
    /// Its version.
    pub version: String,
    /// Where to read the API.
    pub docs: String,
    /// Where the API begins.
    pub endpoints: Vec<String>,
}

/// The sum of a service's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Everything works.
    Healthy,
    /// Something that is not needed for the main job does not work.
    Degraded,
    /// Something that is needed does not work.
    Unhealthy,
    /// Start-up is not complete.
    Starting,
}

/// `GET /health`: 200 when healthy or degraded, else 503 with the same body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The sum.
    pub status: HealthState,
    /// Who answers.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Each component, under its own name.
    #[serde(flatten)]
    pub components: BTreeMap<String, HealthValue>,
}

/// A component's answer, or (under `details`) why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum HealthValue {
    /// Whether it works.
    Works(bool),
    /// Sentences by component.
    Details(BTreeMap<String, String>),
}

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// As in health.
    pub status: HealthState,
    /// Who answers.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Since start-up.
    pub uptime_seconds: u64,
    /// The service's own counts.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub counts: Map<String, Value>,
}
