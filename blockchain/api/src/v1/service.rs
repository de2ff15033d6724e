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
    /// What the process takes of its machine. An earlier version does not say.
    #[serde(default)]
    pub process: ProcessStatus,
    /// The service's own counts.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub counts: Map<String, Value>,
}

/// What a process takes of its machine, and what there is. What the system does not tell is null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessStatus {
    /// Bytes of it that lie in memory.
    pub resident_bytes: Option<u64>,
    /// How much memory it may take: the bound of its control groups, or all there is.
    pub memory_limit_bytes: Option<u64>,
    /// Seconds that it computed, on all cores together.
    pub cpu_seconds: Option<f64>,
    /// How many cores it may use: the bound of its control groups, or all it may run on.
    pub cpu_limit: Option<f64>,
    /// Files and connections that it has open.
    pub open_files: Option<u64>,
    /// How many it may have open.
    pub open_files_max: Option<u64>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Tasks that ran or waited to run on the machine, on average over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// The disks of its folders.
    pub disks: Vec<DiskRoom>,
}

/// The room on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiskRoom {
    /// Whose disk it is: `data` is the service's folder, and a part of it that is on another disk has its own name.
    pub folder: String,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes that it has.
    pub total_bytes: u64,
}
