//! Puts everything around a service's routes, in the one right order, and adds the routes that
//! every service has. Services call it once; tests call it to get what is served.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use ipnet::IpNet;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutBody};
use utoipa_axum::router::OpenApiRouter;

use crate::budget::Budget;
use crate::config::CommonConfig;
use crate::credentials::Credentials;
use crate::health::{HealthReport, Probe};
use crate::layers::{
    Admission, Callers, Cors, Gate, Observer, Replies, Tidy, Wanted, Watch, Witness, admit,
    admit_caller, authenticate, callers, observe, panicked, witness, wording,
};
use crate::limits::{CONCURRENT_REQUESTS, IDLE, Limits};
use crate::process::Folders;
use crate::rates::Rates;
use crate::table::Access;
use crate::telemetry::{self, Look, Page};
use crate::tls::Tls;
use crate::{Service, docs, health};

/// Who may embed a reply.
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// What a reply that is not a page of ours may do in a browser.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// Sets a header on replies that do not have it.
fn unless_said(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// What stands around a service's routes.
pub struct Porch {
    service: &'static Service,
    probe: Probe,
    callers: Callers,
    admission: Admission,
    concurrent_requests: usize,
    bodies: Budget,
    replies: Budget,
    alias: Option<(&'static str, &'static str)>,
    proxies: Arc<[IpNet]>,
    watch: Option<Watch>,
    folders: Folders,
    looks: Vec<Look>,
}

/// What a report says besides, where something of this is wrong.
fn with_fault(report: HealthReport, part: &'static str, fault: Option<String>) -> HealthReport {
    match fault {
        None => report,
        Some(why) => report.optional(part, false).detail(why),
    }
}

impl Porch {
    /// `probe` answers `/health`: quickly, from what is known already. `credentials` are those that count.
    pub fn new(
        service: &'static Service,
        config: &CommonConfig,
        credentials: &Credentials,
        probe: impl Fn() -> HealthReport + Send + Sync + 'static,
    ) -> Self {
        let counted = credentials.clone();
        // Everyone may ask for it, and the sentence in the log quotes what stands where a narrowing should.
        let told = || {
            "they stay as they were: their files cannot be read now; the log says why".to_owned()
        };
        let probe = move || with_fault(probe(), "credentials", counted.fault().map(|_| told()));
        Self {
            service,
            probe: Arc::new(probe),
            callers: Callers {
                hosts: config.hosts.clone(),
                cors: config.cors.clone(),
                credentials: credentials.clone(),
            },
            admission: Admission {
                credentials: credentials.clone(),
                rates: Rates::new(&config.rates),
            },
            concurrent_requests: CONCURRENT_REQUESTS,
            bodies: Budget::default(),
            replies: Budget::default(),
            alias: None,
            proxies: config.rates.proxies.clone().into(),
            watch: None,
            folders: Folders::new(&config.data_dir, &[]),
            looks: Vec::new(),
        }
    }

    /// Tells `/metrics` of the disks of these folders, instead of the service's own alone.
    pub fn folders(mut self, folders: Folders) -> Self {
        self.folders = folders;
        self
    }

    /// Has `/metrics` show what is looked up when it is asked for. It may block for a moment.
    pub fn look(mut self, look: impl Fn(&mut Page) + Send + Sync + 'static) -> Self {
        self.looks.push(Box::new(look));
        self
    }

    /// Says how the encryption of connections is.
    pub fn tls(mut self, tls: Option<Tls>) -> Self {
        if let Some(tls) = tls {
            let probe = self.probe;
            self.probe = Arc::new(move || with_fault(probe(), "certificate", tls.fault()));
        }
        self
    }

    /// Serves everything below `to` also below `from`.
    pub fn alias(mut self, from: &'static str, to: &'static str) -> Self {
        self.alias = Some((from, to));
        self
    }

    /// Shows each request to a witness.
    pub fn witness(mut self, witness: Arc<dyn Witness>) -> Self {
        self.watch = Some(Watch { witness, proxies: self.proxies.clone() });
        self
    }

    /// Lets bodies that are taken whole share this memory.
    pub fn bodies(mut self, bodies: Budget) -> Self {
        self.bodies = bodies;
        self
    }

    /// Lets replies that lie in memory whole share this.
    pub fn replies(mut self, replies: Budget) -> Self {
        self.replies = replies;
        self
    }

    /// Allows so many requests in work at once.
    pub fn concurrent_requests(mut self, places: usize) -> Self {
        self.concurrent_requests = places;
        self
    }

    /// The whole service: the routes, what every service has, and all layers.
    pub fn around(mut self, routes: OpenApiRouter) -> Router {
        let (service, gate) = (self.service, Gate::new(self.concurrent_requests));
        let (probe, folders, in_work) = (self.probe.clone(), self.folders, gate.places().clone());
        let (bodies, replies) = (self.bodies.clone(), self.replies.clone());
        self.looks.push(Box::new(move |page| {
            probe().show(page, service);
            folders.show(page, service.name);
            in_work.show(page, service.name);
            bodies.show(page, service.name, "bodies");
            replies.show(page, service.name, "replies");
        }));
        let common = health::routes(service, self.probe);
        let (routes, openapi) = common.merge(routes).split_for_parts();
        let cors = self.callers.cors.layer();
        let corp = match self.callers.cors {
            Cors::Nobody => "same-origin",
            Cors::Anyone | Cors::Origins(_) => "cross-origin",
        };
        let observer = Observer { service, replies: Replies::new(self.replies) };
        // One stack, because a router boxes every layer that it is given by itself. The outermost is first.
        let layers = ServiceBuilder::new()
            .layer(from_fn_with_state(observer, observe))
            // Replies hold content: no browser or proxy keeps it, frames it, runs it, or lends it
            // to another site.
            .layer(unless_said(CORP, corp))
            .layer(unless_said(CONTENT_SECURITY_POLICY, NOTHING))
            .layer(unless_said(CACHE_CONTROL, "no-store"))
            .layer(unless_said(X_CONTENT_TYPE_OPTIONS, "nosniff"))
            // It is shown what is refused here and further in, too.
            .layer(from_fn_with_state(self.watch, witness))
            .layer(from_fn_with_state(Arc::new(self.callers), callers))
            .layer(cors)
            .layer(from_fn_with_state(self.admission, authenticate))
            .layer(from_fn(wording))
            .layer(RequestBodyTimeoutLayer::new(IDLE))
            .map_request(|request: Request<TimeoutBody<Body>>| request.map(Body::new))
            .layer(from_fn_with_state(gate, admit))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(Extension(self.bodies))
            // A route that was not given limits has the ordinary one.
            .layer(DefaultBodyLimit::max(Limits::ORDINARY.body_bytes()));
        // The figures are of all that is stored.
        let figures = Wanted { access: Access::Verify, is_within: false };
        let figures = telemetry::routes(service.name, self.looks)
            .route_layer(from_fn_with_state(figures, admit_caller));
        let app = routes.merge(docs::routes(service, openapi)).merge(figures);
        let app = app.layer(layers);
        Router::new().fallback_service(Tidy::new(app, self.alias))
    }
}
