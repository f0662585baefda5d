//! The page at `/`: one file, carried in the binary.

use std::hash::{BuildHasher, Hasher, RandomState};

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse};

/// Written by hand, with its style and script inside; it asks this server and nobody else.
const PAGE: &str = include_str!("page/index.html");

/// The page. Its one script and its one style carry a nonce that the policy names; nothing else runs,
/// nothing is loaded from anywhere, and no site may frame it.
pub(super) async fn page() -> impl IntoResponse {
    let nonce = nonce();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut headers = HeaderMap::new();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    // A nonce is used once.
    set(header::CACHE_CONTROL, "no-store");
    let named = PAGE.replacen("<script>", &format!("<script nonce=\"{nonce}\">"), 1).replacen(
        "<style>",
        &format!("<style nonce=\"{nonce}\">"),
        1,
    );
    (headers, Html(named))
}

/// Nobody guesses it: two hashes under keys that the standard library draws at random.
fn nonce() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing() {
        for tag in ["<script", "<style"] {
            assert!(PAGE.matches(tag).count() <= 1, "{tag}");
            assert_eq!(PAGE.matches(tag).count(), PAGE.matches(&format!("{tag}>")).count());
        }
        for attribute in
            [" src=", " onclick=", " onload=", " style=", "@import", "<link rel=\"stylesheet"]
        {
            assert!(!PAGE.contains(attribute), "{attribute}");
        }
        assert_ne!(nonce(), nonce());
    }
}
