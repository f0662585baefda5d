//! The way of a request that computes: its parameters read, its turn waited for, its answer written
//! on a blocking thread.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::App;
use super::access::Caller;
use super::body::{self, FORM};
use super::failure::Failure;
use super::output::{Form, Output, takes_gzip};
use super::parameters::Parameters;
use crate::query::{CancelToken, SampleRequest};
use crate::time::TimeRange;

/// The type of most answers.
pub(super) const JSON: &str = "application/json";

/// A request that was let in, on the thread that answers it.
pub(super) struct Ask {
    pub(super) app: Arc<App>,
    pub(super) caller: Caller,
    pub(super) parameters: Parameters,
    /// What the path names, a label or a query, where it names one.
    pub(super) name: String,
    pub(super) arrived: Instant,
    /// Cancelled when the client hangs up.
    pub(super) cancel: CancelToken,
}

impl Ask {
    /// The latest time to answer, as the server and the request's `timeout` say.
    ///
    /// # Errors
    /// [`Failure::parameter`].
    pub(super) fn deadline(&self) -> Result<Instant, Failure> {
        let longest = self.app.options.query_timeout;
        let asked = self.parameters.length("timeout")?.unwrap_or(longest);
        Ok(self.arrived + asked.min(longest))
    }

    /// A reading of samples of `range` under this request's limits.
    ///
    /// # Errors
    /// [`Failure::parameter`].
    pub(super) fn samples(&self, range: TimeRange) -> Result<SampleRequest, Failure> {
        Ok(SampleRequest {
            limits: self.app.options.limits,
            deadline: Some(self.deadline()?),
            cancel: self.cancel.clone(),
            ..SampleRequest::new(range)
        })
    }
}

/// Writes an answer.
pub(super) type Job = fn(&Ask, &mut Output) -> Result<(), Failure>;

/// A route that is asked by GET, or by POST of a form, and waits for its turn.
pub(super) fn asked(content_type: &'static str, job: Job) -> MethodRouter<Arc<App>> {
    route(Route { content_type, job, waits: true })
}

/// As [`asked`], for what costs little and is wanted most when there is much to do.
pub(super) fn told(content_type: &'static str, job: Job) -> MethodRouter<Arc<App>> {
    route(Route { content_type, job, waits: false })
}

#[derive(Debug, Clone, Copy)]
struct Route {
    content_type: &'static str,
    job: Job,
    waits: bool,
}

fn route(route: Route) -> MethodRouter<Arc<App>> {
    let handler =
        move |State(app): State<Arc<App>>, name: Option<Path<String>>, request: Request| {
            let name = name.map(|Path(name)| name).unwrap_or_default();
            async move {
                let answered = answer(app, request, name, route).await;
                answered.unwrap_or_else(Failure::into_response)
            }
        };
    get(handler).post(handler)
}

async fn answer(
    app: Arc<App>,
    request: Request,
    name: String,
    Route { content_type, job, waits }: Route,
) -> Result<Response, Failure> {
    let arrived = Instant::now();
    let (head, body) = request.into_parts();
    let is_form = head.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value.to_str().is_ok_and(|value| value.trim_start().starts_with(FORM))
    });
    let form = match is_form {
        true => body::read(&app.options, &head.headers, body).await?,
        false => bytes::Bytes::new(),
    };
    let parameters = Parameters::parse(head.uri.query(), &form);
    let caller = head.extensions.get::<Caller>().cloned().unwrap_or_default();
    let gzip = takes_gzip(head.headers.get(header::ACCEPT_ENCODING));
    let turn = match waits {
        true => Some(turn(&app, &app.queries, "queries").await?),
        false => None,
    };
    let cancel = CancelToken::new();
    // Dropped with this future, when the client hangs up.
    let hang_up = HangUp(cancel.clone());
    let (mut output, answered) =
        Output::new(Form { content_type, gzip, stall: app.options.transfer_timeout });
    let ask = Ask { app, caller, parameters, name, arrived, cancel };
    tokio::task::spawn_blocking(move || {
        let running = ask.app.measures.running();
        let written = job(&ask, &mut output);
        drop(running);
        output.finish(written);
        drop(turn);
    });
    let answered = answered.await.map_err(|_| Failure::internal("the query panicked"))?;
    drop(hang_up);
    answered
}

/// Waits for a place among those that compute.
///
/// # Errors
/// [`Failure::unavailable`] where none gets free in time.
pub(super) async fn turn(
    app: &App,
    places: &Arc<Semaphore>,
    what: &str,
) -> Result<OwnedSemaphorePermit, Failure> {
    let waited = tokio::time::timeout(app.options.turn_wait, Arc::clone(places).acquire_owned());
    match waited.await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Failure::unavailable(format!("too many {what} at once; try again later"))),
    }
}

/// Cancels when it is dropped.
pub(super) struct HangUp(pub(super) CancelToken);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
