//! The page at `/`: one file, carried in the binary.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse};

/// Written by hand, with its style and script inside; it asks this server and nobody else.
const PAGE: &str = include_str!("page/index.html");
/// Nothing is loaded from anywhere, and no other site may frame it.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) async fn page() -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::CACHE_CONTROL, "no-cache");
    (headers, Html(PAGE))
}
