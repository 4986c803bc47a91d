//! Deployments, for the operator: each of these routes wants the token.
//!
//! Whoever decides on a state they have seen sends its revision as `if-match`, and is told if it was changed
//! meanwhile. `x-operator` says who it is, `why` in the query says why: both stand in the history.

use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use host_deploy::{Plan, Shadow, Share, verdict::VerdictSettings};
use serde::Deserialize;

use super::{
    App, Problem, admin, body,
    plugins::{Name, parse},
    upload,
};
use crate::{
    Asked, DeployOptions, Then,
    documents::{DeployedDocument, DeploymentDocument, DeploymentsDocument, HistoryDocument},
};

/// Who asks.
const OPERATOR: HeaderName = HeaderName::from_static("x-operator");

/// Longest body that says how a step is taken.
const BODY_BYTES_MAX: usize = 16 << 10;

/// How a version is deployed, in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DeployQuery {
    then: Option<ThenWord>,
    allow_downgrade: bool,
    allow_breaking: bool,
    why: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ThenWord {
    Stage,
    Activate,
}

pub(super) async fn deploy(
    State(app): State<App>,
    query: Result<Query<DeployQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<DeployedDocument>), Problem> {
    admin::authorize(&app, &headers)?;
    let query = in_query(query)?;
    let options = DeployOptions {
        then: match query.then {
            None => Then::FirstServes,
            Some(ThenWord::Stage) => Then::Stage,
            Some(ThenWord::Activate) => Then::Activate,
        },
        allow_downgrade: query.allow_downgrade,
        allow_breaking: query.allow_breaking,
    };
    let asked = asked(&headers, query.why)?;
    let upload = upload::read(&app, &headers, body).await?;
    let deployed = app.host.deploy(upload, options, &asked).await?;
    Ok((StatusCode::CREATED, Json((&deployed).into())))
}

/// Why, in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WhyQuery {
    why: Option<String>,
}

pub(super) type Why = Result<Query<WhyQuery>, QueryRejection>;

/// What an operator has the host do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Approve,
    Activate,
    Canary,
    Promote,
    RollBack,
    Hold,
    Resume,
    Advance,
    Shadow,
}

/// In which steps a canary becomes the active version.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct PlanBody {
    steps: Option<Vec<Share>>,
    /// Such as `60s`.
    hold: Option<String>,
    verdict: Option<VerdictSettings>,
}

/// Which share of the calls is mirrored; none ends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShadowBody {
    share: Share,
}

pub(super) async fn take(
    State(app): State<App>,
    plugin: Name,
    why: Why,
    headers: HeaderMap,
    body: Body,
    step: Step,
) -> Result<Json<DeploymentDocument>, Problem> {
    admin::authorize(&app, &headers)?;
    let plugin = parse(plugin)?;
    let asked = asked(&headers, in_query(why)?.why)?;
    let (body, _share) = body::collect_within(&app, body, BODY_BYTES_MAX).await?;
    let (host, name) = (&app.host, &plugin.name);
    let version = || plugin.version.as_ref().ok_or_else(version_missing);
    match step {
        Step::Approve => host.approve(name, version()?, &asked).await?,
        Step::Activate => host.activate(name, version()?, &asked).await?,
        Step::Canary => host.canary(name, version()?, plan(&body)?, &asked).await?,
        Step::Promote => host.promote(name, &asked).await?,
        Step::RollBack => host.roll_back(name, plugin.version.as_ref(), &asked).await?,
        Step::Hold => host.hold(name, &asked).await?,
        Step::Resume => host.resume(name, &asked).await?,
        Step::Advance => host.advance(name, &asked).await?,
        Step::Shadow => {
            let ShadowBody { share } = json(&body)?;
            match share.is_none() {
                true => host.end_shadow(name, &asked).await?,
                false => {
                    let shadow = Shadow { version: version()?.clone(), share };
                    host.shadow(name, shadow, &asked).await?
                }
            }
        }
    };
    Ok(Json(DeploymentDocument::of(&host.deployment(name)?)))
}

pub(super) async fn list(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<DeploymentsDocument>, Problem> {
    admin::authorize(&app, &headers)?;
    let deployments = app.host.deployments();
    let deployments = deployments.iter().map(DeploymentDocument::of).collect();
    Ok(Json(DeploymentsDocument { deployments }))
}

pub(super) async fn show(
    State(app): State<App>,
    plugin: Name,
    headers: HeaderMap,
) -> Result<Json<DeploymentDocument>, Problem> {
    admin::authorize(&app, &headers)?;
    Ok(Json(DeploymentDocument::of(&app.host.deployment(&parse(plugin)?.name)?)))
}

/// How much of a history.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HistoryQuery {
    limit: usize,
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self { limit: 100 }
    }
}

/// Most records in one answer.
const RECORDS_MAX: usize = 1_000;

pub(super) async fn history(
    State(app): State<App>,
    plugin: Name,
    query: Result<Query<HistoryQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<HistoryDocument>, Problem> {
    admin::authorize(&app, &headers)?;
    let limit = in_query(query)?.limit.min(RECORDS_MAX);
    let records = app.host.history(&parse(plugin)?.name, limit).await?;
    Ok(Json(HistoryDocument::of(&records)))
}

/// Who asks, why, and on which state.
fn asked(headers: &HeaderMap, why: Option<String>) -> Result<Asked, Problem> {
    let by = headers.get(OPERATOR).and_then(|by| by.to_str().ok()).map(str::to_owned);
    let seen = match headers.get(header::IF_MATCH) {
        None => None,
        Some(seen) => {
            let seen = seen.to_str().unwrap_or_default().trim_matches('"').parse();
            let invalid = |_| Problem::new(StatusCode::BAD_REQUEST, "http/invalid-if-match");
            Some(seen.map_err(invalid)?)
        }
    };
    Ok(Asked { by: by.filter(|by| !by.is_empty()), why, seen })
}

fn plan(body: &[u8]) -> Result<Plan, Problem> {
    let PlanBody { steps, hold, verdict } = match body.is_empty() {
        true => PlanBody::default(),
        false => json(body)?,
    };
    let default = Plan::default();
    let hold = hold.map(|hold| plugin_contract::parse_duration(&hold)).transpose();
    let hold = hold.map_err(|error| invalid_json(&error))?;
    let plan = Plan::new(
        steps.unwrap_or_else(|| default.steps().to_vec()),
        hold.unwrap_or(default.hold()),
        verdict.unwrap_or(*default.verdict()),
    );
    plan.map_err(|error| invalid_json(&error))
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| invalid_json(&error))
}

fn invalid_json(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "http/invalid-json").detailed(error)
}

fn version_missing() -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "http/version-missing")
}

fn in_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let invalid = |error: QueryRejection| {
        Problem::new(StatusCode::BAD_REQUEST, "http/invalid-query").detailed(&error)
    };
    query.map(|Query(query)| query).map_err(invalid)
}
