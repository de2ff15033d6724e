//! How a service is, summed up from its components: healthy when all work, degraded (still 200)
//! when an optional one does not, unhealthy (503) when a needed one does not, and starting (503)
//! until it says otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::v1::service::{Health, HealthState, HealthValue, Root};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Service;
use crate::telemetry::Page;

/// Answers `/health`.
pub(crate) type Probe = Arc<dyn Fn() -> HealthReport + Send + Sync>;

/// The components of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthReport {
    starting: bool,
    components: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    name: &'static str,
    works: bool,
    weight: Weight,
    detail: Option<String>,
}

/// What it means for the service that a component does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// It is unhealthy.
    Needed,
    /// It is degraded.
    Optional,
    /// Nothing: it is switched off on purpose.
    Off,
}

impl HealthReport {
    /// Start-up is complete.
    pub fn new() -> Self {
        Self::default()
    }

    /// Start-up is not complete.
    pub fn starting() -> Self {
        Self { starting: true, components: Vec::new() }
    }

    /// A component without which the service is unhealthy.
    pub fn needed(self, name: &'static str, works: bool) -> Self {
        self.with(name, works, Weight::Needed)
    }

    /// A component without which the service is degraded.
    pub fn optional(self, name: &'static str, works: bool) -> Self {
        self.with(name, works, Weight::Optional)
    }

    /// A component that is switched off, which is shown and is no fault; `why` says how to switch it on.
    pub fn disabled(self, name: &'static str, why: impl Into<String>) -> Self {
        self.with(name, false, Weight::Off).detail(why)
    }

    fn with(mut self, name: &'static str, works: bool, weight: Weight) -> Self {
        self.components.push(Component { name, works, weight, detail: None });
        self
    }

    /// A sentence about the component named last.
    pub fn detail(mut self, sentence: impl Into<String>) -> Self {
        if let Some(component) = self.components.last_mut() {
            component.detail = Some(sentence.into());
        }
        self
    }

    /// The sum.
    pub fn state(&self) -> HealthState {
        let broken = |weight| self.components.iter().any(|c| !c.works && c.weight == weight);
        match (self.starting, broken(Weight::Needed), broken(Weight::Optional)) {
            (true, ..) => HealthState::Starting,
            (_, true, _) => HealthState::Unhealthy,
            (_, _, true) => HealthState::Degraded,
            _ => HealthState::Healthy,
        }
    }

    /// Writes it onto a page of `/metrics`: every state, of which one is 1, and every component that is not switched
    /// off.
    pub fn show(&self, page: &mut Page, service: &Service) {
        let now = self.state();
        for (state, name) in [
            (HealthState::Healthy, "healthy"),
            (HealthState::Degraded, "degraded"),
            (HealthState::Unhealthy, "unhealthy"),
            (HealthState::Starting, "starting"),
        ] {
            let of = [("service", service.name), ("state", name)];
            let help = "1 for the state that a service is in, 0 for the others.";
            page.gauge("lucid_health", help, &of, f64::from(u8::from(state == now)));
        }
        for component in self.components.iter().filter(|component| component.weight != Weight::Off)
        {
            let of = [("service", service.name), ("component", component.name)];
            let help = "Whether a component of a service works: 1, or 0.";
            page.gauge("lucid_health_component", help, &of, f64::from(u8::from(component.works)));
        }
        let of = [("service", service.name), ("version", service.version)];
        page.gauge("lucid_build_info", "1, with the version that runs.", &of, 1.0);
    }

    /// The document.
    pub fn document(&self, service: &Service) -> Health {
        let details: BTreeMap<_, _> = self
            .components
            .iter()
            .filter_map(|c| Some((c.name.to_owned(), c.detail.clone()?)))
            .collect();
        let mut components: BTreeMap<_, _> = self
            .components
            .iter()
            .map(|c| (c.name.to_owned(), HealthValue::Works(c.works)))
            .collect();
        if !details.is_empty() {
            components.insert("details".to_owned(), HealthValue::Details(details));
        }
        Health {
            status: self.state(),
            service: service.name.to_owned(),
            version: service.version.to_owned(),
            components,
        }
    }
}

#[derive(Clone)]
struct About {
    service: &'static Service,
    probe: Probe,
}

pub(crate) fn routes(service: &'static Service, probe: Probe) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(get_root))
        .routes(routes!(get_health))
        .routes(routes!(get_health_v1))
        .with_state(About { service, probe })
}

/// What the service is and where to go next.
#[utoipa::path(get, path = paths::ROOT, tag = "service", responses((status = 200, body = Root)))]
async fn get_root(State(about): State<About>) -> Json<Root> {
    Json(Root {
        message: about.service.title.to_owned(),
        version: about.service.version.to_owned(),
        docs: paths::DOCS.to_owned(),
        endpoints: about.service.endpoints.iter().map(|path| (*path).to_owned()).collect(),
    })
}

/// How the service is, component by component.
#[utoipa::path(get, path = paths::HEALTH, tag = "service", responses(
    (status = 200, body = Health, description = "healthy or degraded"),
    (status = 503, body = Health, description = "unhealthy or starting"),
))]
async fn get_health(State(about): State<About>) -> Response {
    let report = (about.probe)();
    let status = match report.state() {
        HealthState::Healthy | HealthState::Degraded => StatusCode::OK,
        HealthState::Unhealthy | HealthState::Starting => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(report.document(about.service))).into_response()
}

/// The same, below the API.
#[utoipa::path(get, path = paths::HEALTH_V1, tag = "service", responses(
    (status = 200, body = Health), (status = 503, body = Health),
))]
async fn get_health_v1(about: State<About>) -> Response {
    get_health(about).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_the_worst_component() {
        let all = HealthReport::new().needed("store", true).optional("sync", true);
        assert_eq!(all.state(), HealthState::Healthy);
        assert_eq!(all.clone().optional("peer", false).state(), HealthState::Degraded);
        assert_eq!(
            all.optional("peer", false).needed("log", false).state(),
            HealthState::Unhealthy
        );
        let off = HealthReport::new().disabled("peer", "set PEER_URL");
        assert_eq!(off.state(), HealthState::Healthy);
        assert_eq!(HealthReport::starting().state(), HealthState::Starting);
    }
}
