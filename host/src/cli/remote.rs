//! Commands that talk to a host that serves.

use std::{path::PathBuf, time::Duration};

use reqwest::{Method, RequestBuilder, Response};
use serde::{Deserialize, de::DeserializeOwned};

use super::{CliError, serve::read_token};

/// Which host, and who asks.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// Where the host listens.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:7420",
        env = "PLUGIN_HOST_SERVER"
    )]
    server: String,
    /// A file with the operator's token.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "data/admin-token",
        env = "PLUGIN_HOST_ADMIN_TOKEN_FILE"
    )]
    admin_token_file: PathBuf,
    /// Who asks, for the history. Left out: the user of this machine.
    #[arg(long, value_name = "NAME", env = "PLUGIN_HOST_OPERATOR")]
    operator: Option<String>,
}

/// Why, and on which state it was decided.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Do it only if the deployment is still at this revision.
    #[arg(long, value_name = "NUMBER")]
    if_revision: Option<u64>,
}

/// Longest wait for an answer: a version may have to be compiled.
const TIMEOUT: Duration = Duration::from_secs(180);

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A host that serves.
pub(crate) struct Remote {
    client: reqwest::Client,
    server: String,
    token: String,
    operator: String,
    why: Option<String>,
    if_revision: Option<u64>,
}

/// What a host says that refuses.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    remedy: String,
}

impl ServerArgs {
    pub(crate) fn connect(&self) -> Result<Remote, CliError> {
        let token = read_token(&self.admin_token_file)?;
        let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        let operator = self.operator.clone().or_else(user).unwrap_or_else(|| "operator".to_owned());
        let server = self.server.trim_end_matches('/').to_owned();
        Ok(Remote { client: client()?, server, token, operator, why: None, if_revision: None })
    }
}

impl ChangeArgs {
    pub(crate) fn connect(&self) -> Result<Remote, CliError> {
        let remote = self.server.connect()?;
        Ok(Remote { why: self.why.clone(), if_revision: self.if_revision, ..remote })
    }
}

impl Remote {
    pub(crate) async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, CliError> {
        self.send(self.client.request(Method::GET, self.url(path))).await
    }

    /// Has the host take a step. `body` says how, if there is more to say.
    pub(crate) async fn step<R: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<R, CliError> {
        let mut request = self.client.request(Method::POST, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.send(request).await
    }

    pub(crate) async fn upload<R: DeserializeOwned>(
        &self,
        query: &[(&str, &str)],
        media_type: &str,
        body: Vec<u8>,
    ) -> Result<R, CliError> {
        let request = self.client.request(Method::POST, self.url("/v1/plugins"));
        self.send(request.query(query).header("content-type", media_type).body(body)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    async fn send<R: DeserializeOwned>(&self, request: RequestBuilder) -> Result<R, CliError> {
        let mut request = request.bearer_auth(&self.token);
        // What is no header is no name either: the history says `operator` then.
        if self.operator.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            request = request.header("x-operator", &self.operator);
        }
        if let Some(why) = &self.why {
            request = request.query(&[("why", why)]);
        }
        if let Some(revision) = self.if_revision {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        answered(request).await
    }
}

/// What a host tells everybody.
pub(crate) async fn get_public<R: DeserializeOwned>(
    server: &str,
    path: &str,
) -> Result<R, CliError> {
    let url = format!("{}{path}", server.trim_end_matches('/'));
    answered(client()?.get(url)).await
}

fn client() -> Result<reqwest::Client, CliError> {
    // The client wants to know whose cryptography to use, even where it uses none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(TIMEOUT).build().map_err(unreachable)
}

async fn answered<R: DeserializeOwned>(request: RequestBuilder) -> Result<R, CliError> {
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = read(response).await?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| strange(status));
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(Problem { code, detail, remedy }) => {
            let shown = |text: &str| plugin_contract::escape(text, 4_000);
            Err(CliError::told(shown(&detail), shown(&code), shown(&remedy)))
        }
        Err(_) => Err(strange(status)),
    }
}

/// What a host says, line by line, without anything that a terminal would act on.
pub(crate) fn plain(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| plugin_contract::escape(line, 8_000)).collect();
    lines.join("\n")
}

async fn read(mut response: Response) -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(strange(response.status()));
        }
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> CliError {
    let said = plugin_contract::escape(&host::chain(&error), 2_000);
    CliError::new(
        format!("the host does not answer: {said}"),
        "host/unreachable",
        "see that it serves, and name it with `--server`",
    )
}

fn strange(status: reqwest::StatusCode) -> CliError {
    CliError::new(
        format!("what answers is no plugin host of this version (status {status})"),
        "host/unreachable",
        "name the host with `--server`",
    )
}
