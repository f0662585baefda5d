//! Which path leads where, and the door before all of them.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::access::Scope;
use super::export::{self, TEXT};
use super::failure::Failure;
use super::work::{JSON, asked, told};
use super::{App, metadata, overview, page, queries, status, writes};

pub(super) fn router(app: &Arc<App>) -> Router {
    let v1 = Router::new()
        .route("/query", asked(JSON, queries::instant))
        .route("/query_range", asked(JSON, queries::range))
        .route("/format_query", asked(JSON, queries::format))
        .route("/series", asked(JSON, metadata::series))
        .route("/labels", asked(JSON, metadata::label_names))
        .route("/label/{name}/values", asked(JSON, metadata::label_values))
        .route("/metadata", asked(JSON, metadata::metadata))
        .route("/query_exemplars", told(JSON, status::no_list))
        .route("/rules", told(JSON, status::no_rules))
        .route("/alerts", told(JSON, status::no_alerts))
        .route("/targets", told(JSON, status::no_targets))
        .route("/alertmanagers", told(JSON, status::no_alertmanagers))
        .route("/status/buildinfo", told(JSON, status::build_info))
        .route("/status/runtimeinfo", told(JSON, status::runtime_info))
        .route("/status/config", told(JSON, status::config))
        .route("/status/flags", told(JSON, status::flags))
        .route("/status/tsdb", asked(JSON, status::tsdb))
        .route("/status/store", asked(JSON, status::store))
        .route("/overview", asked(JSON, overview::overview))
        .route("/overview/queries/{id}", asked(JSON, overview::query))
        .route("/read", post(export::remote_read))
        .route("/write", post(writes::remote_write))
        .route("/import/prometheus", post(writes::import_text));
    Router::new()
        .nest("/api/v1", v1)
        .route("/federate", asked(TEXT, export::federate))
        .route("/metrics", told(TEXT, export::metrics))
        .route("/-/healthy", get(|| async { "icecore is healthy.\n" }))
        .route("/-/ready", get(|| async { "icecore is ready.\n" }))
        .route("/", get(page::page))
        .fallback(|| async { Failure::not_found("there is nothing here") })
        .method_not_allowed_fallback(|| async {
            let failure = Failure::bad_data("the method is not allowed here");
            Failure { status: StatusCode::METHOD_NOT_ALLOWED, ..failure }
        })
        .layer(middleware::from_fn_with_state(Arc::clone(app), door))
        .with_state(Arc::clone(app))
}

/// What a path takes; nothing for what everybody may see.
fn scope(path: &str) -> Option<Scope> {
    match path {
        "/" | "/-/healthy" | "/-/ready" => None,
        "/api/v1/write" => Some(Scope::Write),
        _ if path.starts_with("/api/v1/import/") => Some(Scope::Write),
        _ => Some(Scope::Read),
    }
}

/// Lets a request in or not, and counts it.
async fn door(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let cross_origin = app.options.cross_origin.is_some();
    let mut response = if cross_origin && *request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        match app.door.admit(&request, scope(request.uri().path())) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(failure) => failure.into_response(),
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    app.door.allow_origin(headers);
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    app.measures.answered(route, response.status().as_u16(), began.elapsed());
    response
}
