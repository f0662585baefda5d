//! Why a request is not answered, as Prometheus tells it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::json::push_text;
use crate::error::{Error, ErrorKind};

/// A status, Prometheus' word for the kind of error, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// The request makes no sense.
    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", message)
    }

    /// One of its parameters makes no sense.
    pub(super) fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {message}"))
    }

    /// There is no such thing here.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Nobody whom the server knows.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// Known, but may not do this.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Too much at once.
    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message)
    }

    /// A body beyond its bound.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_data", message)
    }

    /// A body in a format that is not understood.
    pub(super) fn media(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_data", message)
    }

    /// Not now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// The sender took too long.
    pub(super) fn slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    /// Ours.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let execution = StatusCode::UNPROCESSABLE_ENTITY;
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match &error {
            Error::InvalidQuery { reason, .. } => Self::parameter("query", reason),
            Error::Evaluation { .. } | Error::Limit { .. } => {
                Self::new(execution, "execution", error.to_string())
            }
            Error::Deadline { .. } => {
                Self::new(unavailable, "timeout", "query timed out in expression evaluation")
            }
            Error::Cancelled => {
                Self::new(unavailable, "canceled", "query was canceled in expression evaluation")
            }
            // A sender that tries again later may be lucky.
            Error::DiskFull { .. } | Error::OverBudget { .. } => {
                Self::new(unavailable, "unavailable", error.to_string())
            }
            _ => match error.kind() {
                ErrorKind::Invalid => Self::bad_data(error.to_string()),
                ErrorKind::ReadOnly | ErrorKind::Closed => {
                    Self::new(unavailable, "unavailable", error.to_string())
                }
                _ => Self::internal(error.to_string()),
            },
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut body = b"{\"status\":\"error\",\"errorType\":".to_vec();
        push_text(&mut body, self.kind);
        body.extend_from_slice(b",\"error\":");
        push_text(&mut body, &self.message);
        body.push(b'}');
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
