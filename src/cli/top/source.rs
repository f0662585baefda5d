//! Where facts come from: a store that is opened here, or a host's server that is asked over HTTP. Both
//! answer the same question with the same facts.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;

use crate::engine::Engine;
use crate::integration::notation::Rfc3339;
use crate::monitor::{OutcomeKind, QueryId};
use crate::overview::{Overview, QueryDetail, Question, Reading};

/// The longest that a server may take; a screen that is looked at wants to know sooner.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer: a thousand queries of some kilobytes each would be a third of it.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The engine's.
    Engine(crate::Error),
    /// The server's, or the way's to it.
    Server {
        message: String,
        /// Whether asking again is of no use.
        lasting: bool,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine(error) => write!(f, "{error}"),
            Self::Server { message, .. } => f.write_str(message),
        }
    }
}

impl From<crate::Error> for Refusal {
    fn from(error: crate::Error) -> Self {
        Self::Engine(error)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) enum Source {
    Store(Box<Engine>),
    Server(Client),
}

impl Source {
    /// What the question asks. Cost: blocks, a server for 10 s at most.
    pub(super) fn overview(&self, question: &Question) -> Result<Overview, Refusal> {
        match self {
            Self::Store(engine) => Ok(Overview::of(&Reading::of(engine), question, None)?),
            Self::Server(client) => {
                let asked = client.ask("/api/v1/overview", &parameters(question))?;
                asked.ok_or_else(|| Refusal::Server {
                    message: format!(
                        "{} is no server of icecore's that has an overview",
                        client.base
                    ),
                    lasting: true,
                })
            }
        }
    }

    /// A query in full, `None` where nothing is known of it.
    pub(super) fn detail(&self, id: QueryId) -> Result<Option<QueryDetail>, Refusal> {
        match self {
            Self::Store(engine) => Ok(QueryDetail::of(&Reading::of(engine), id, None)?),
            Self::Server(client) => client.ask(&format!("/api/v1/overview/queries/{id}"), &[]),
        }
    }
}

fn parameters(question: &Question) -> Vec<(&'static str, String)> {
    let outcomes: Vec<&str> =
        question.outcomes.iter().map(|kind| OutcomeKind::name(*kind)).collect();
    let mut parameters = vec![
        ("window", question.window.as_secs_f64().to_string()),
        ("order", question.order.name().to_owned()),
        ("outcome", outcomes.join(",")),
        ("text", question.text.clone()),
        ("limit", question.limit.to_string()),
    ];
    parameters.extend(question.at.map(|at| ("time", Rfc3339(at).to_string())));
    parameters
}

/// Asks one server.
#[derive(Debug)]
pub(super) struct Client {
    base: String,
    token: Option<String>,
    agent: Agent,
}

/// An answer as the server wraps it.
#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Client {
    /// Of the server at `base`, such as `http://127.0.0.1:9090`, without a path's end.
    ///
    /// # Errors
    /// A sentence, where that is no address to ask.
    pub(super) fn new(base: &str, token: Option<String>) -> Result<Self, String> {
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let base = base.trim_end_matches('/').to_owned();
        if base.starts_with("https://") {
            return Err(format!(
                "{base}: there is no TLS here; forward a port of this machine to it (ssh -L)"
            ));
        }
        let uri: Result<ureq::http::Uri, _> = base.parse();
        if !base.starts_with("http://") || !uri.is_ok_and(|uri| uri.host().is_some()) {
            return Err(format!("{base:?} is no address such as http://127.0.0.1:9090"));
        }
        // A token goes to whom it was meant for: no redirects, no proxy of the environment's.
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .build();
        Ok(Self { base, token, agent: config.into() })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// `None` where there is nothing at the path.
    fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<Option<T>, Refusal> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.query(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let passing = |error: ureq::Error| Refusal::Server {
            message: format!("{}: {error}", self.base),
            lasting: false,
        };
        let mut response: Response<ureq::Body> = request.call().map_err(passing)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(passing)?;
        match status {
            200 => {
                let answer: Result<Answer<T>, _> = serde_json::from_slice(&body);
                answer.map(|answer| Some(answer.data)).map_err(|error| Refusal::Server {
                    message: format!("{}: not an answer of this version: {error}", self.base),
                    lasting: true,
                })
            }
            404 => Ok(None),
            _ => {
                let refused: Option<Refused> = serde_json::from_slice(&body).ok();
                let refused = refused.map(|refused| format!(": {}", refused.error));
                Err(Refusal::Server {
                    message: format!("{} ({status}){}", self.base, refused.unwrap_or_default()),
                    // Limits and too many requests pass, and what is the server's own fault.
                    lasting: (400..=404).contains(&status),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_http() {
        for (given, base) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("http://127.0.0.1:9090/", "http://127.0.0.1:9090"),
            ("localhost:9090", "http://localhost:9090"),
            ("http://proxy/prefix/", "http://proxy/prefix"),
        ] {
            assert_eq!(Client::new(given, None).unwrap().base(), base);
        }
        assert!(Client::new("https://host", None).unwrap_err().contains("TLS"));
        for wrong in ["ftp://host", "http://", "", "http://a b"] {
            assert!(Client::new(wrong, None).is_err(), "{wrong:?}");
        }
    }
}
