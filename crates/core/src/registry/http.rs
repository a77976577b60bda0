//! HTTP calls to the registry: addresses tried in turn, retries, and an error for every answer.
//!
//! ```text
//! round 1:  last good address -> the next -> ...    a final answer (2xx, 4xx) ends the call
//!           wait backoff + jitter                   no connection, timeout, 429 and 5xx go on
//! round 2:  ...
//! ```

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Method, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{SchemaKey, answer};
use crate::config::{
    LINE_BREAKS, RegistrySettings, Secret, has_unescaped_login, without_credentials,
};
use crate::fork::{self, PerProcess};
use crate::metrics::Metrics;
use crate::{Error, ErrorKind, Result};

/// The largest answer that is read. The largest schemas in use are a hundredth of it.
const MAX_ANSWER_BYTES: usize = 8 << 20;
const MAX_REDIRECTS: usize = 5;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// One call, and the subject or schema that its error names.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) body: Option<Value>,
    pub(super) subject: Option<String>,
    pub(super) schema: Option<SchemaKey>,
}

impl Call {
    pub(super) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: &[&str], body: Value) -> Self {
        Call {
            body: Some(body),
            ..Self::new(Method::POST, path)
        }
    }

    fn new(method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Call {
            method,
            path,
            query: &[],
            body: None,
            subject: None,
            schema: None,
        }
    }

    pub(super) fn about_subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    pub(super) fn about_schema(mut self, key: SchemaKey) -> Self {
        self.schema = Some(key);
        self
    }

    fn url(&self, address: &Address) -> Url {
        let mut url = address.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query);
        }
        url
    }

    pub(super) fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }
}

/// Why a call to an address failed, and whether a retry can help.
pub(super) struct Fault {
    pub(super) error: Error,
    pub(super) try_again: bool,
}

pub(super) struct Http {
    settings: RegistrySettings,
    addresses: Vec<Address>,
    last_good: AtomicUsize,
    /// A forked child must not write to its parent's
    /// connections. Not behind a lock: creating a client takes a while, and a fork meanwhile would
    /// leave the lock locked for ever in the child.
    client: ArcSwapOption<PerProcess<Client>>,
    metrics: Metrics,
}

struct Address {
    url: Url,
    shown: String,
    login: Option<Login>,
}

enum Login {
    Basic(String, Option<Secret>),
    Bearer(Secret),
}

impl Http {
    pub(super) fn new(settings: &RegistrySettings, metrics: Metrics) -> Result<Self> {
        let addresses = settings.urls.iter().map(|url| Address::new(url, settings));
        let addresses: Vec<Address> = addresses.collect::<Result<_>>()?;
        if addresses.is_empty() {
            let message = "no schema registry is configured: set urls or KAFKA_SCHEMA_REGISTRY_URL";
            return Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", "urls"));
        }
        Ok(Http {
            settings: settings.clone(),
            addresses,
            last_good: AtomicUsize::new(0),
            client: ArcSwapOption::empty(),
            metrics,
        })
    }

    /// Sends a request until it is answered or its retries are used up. Runs on the background thread.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        let mut round = 0;
        loop {
            let error = match self.ask_every_address(call).await {
                Ok(answer) => return Ok(answer),
                Err(fault) if fault.try_again && round < self.settings.retries => fault.error,
                Err(fault) => return Err(fault.error),
            };
            let wait = self.wait_before_retry(round);
            tracing::debug!(target: "carbon_events::registry", %error, ?wait, "retrying");
            tokio::time::sleep(wait).await;
            round += 1;
        }
    }

    async fn ask_every_address<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Fault> {
        let first = self.last_good.load(Relaxed);
        let mut last_fault = None;
        for offset in 0..self.addresses.len() {
            let index = (first + offset) % self.addresses.len();
            let address = &self.addresses[index];
            let outcome = self.ask(address, call).await;
            self.metrics
                .registry_call(outcome.as_ref().err().map(|fault| fault.error.kind()));
            match outcome {
                Err(fault) if fault.try_again => last_fault = Some(fault),
                settled => {
                    self.last_good.store(index, Relaxed);
                    return settled;
                }
            }
        }
        Err(last_fault.unwrap_or_else(|| Fault {
            error: Error::new(ErrorKind::Internal, "there is no schema registry"),
            try_again: false,
        }))
    }

    async fn ask<T: DeserializeOwned>(&self, address: &Address, call: &Call) -> Result<T, Fault> {
        let named = |error: Error| {
            let error = error.with("url", &address.shown);
            let error = match &call.subject {
                Some(subject) => error.with("subject", subject),
                None => error,
            };
            match call.schema {
                Some(key) => key.named(error),
                None => error,
            }
        };
        let exchange = async {
            let client = self.client().map_err(|error| Fault {
                error,
                try_again: false,
            })?;
            let response = self.send(&client, address, call).await?;
            let status = response.status();
            let encoding = answer::encoding(response.headers());
            let body = read_bounded(response).await?;
            let body = answer::decoded(encoding, body, MAX_ANSWER_BYTES)?;
            answer::read(status, &body, call)
        };
        // One deadline for the whole exchange, including a slow body.
        let outcome = match tokio::time::timeout(self.settings.timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(answer::too_slow(self.settings.timeout)),
        };
        outcome.map_err(|fault| Fault {
            error: named(fault.error),
            ..fault
        })
    }

    /// Sends a request and follows redirects that keep it. Credentials are sent to no other host.
    async fn send(
        &self,
        client: &Client,
        address: &Address,
        call: &Call,
    ) -> Result<Response, Fault> {
        let mut url = call.url(address);
        for _ in 0..MAX_REDIRECTS {
            let login = address.login.as_ref().filter(|_| address.is_host_of(&url));
            let request = Self::request(client, url.clone(), login, call);
            let response = request.send().await.map_err(answer::no_answer)?;
            let Some(target) = answer::redirect(&response, &url, call)? else {
                return Ok(response);
            };
            url = target;
        }
        Err(answer::too_many_redirects(&url))
    }

    fn request(
        client: &Client,
        url: Url,
        login: Option<&Login>,
        call: &Call,
    ) -> reqwest::RequestBuilder {
        let mut request = client.request(call.method.clone(), url);
        request = request.header("Accept", format!("{MEDIA_TYPE}, application/json"));
        request = match login {
            Some(Login::Basic(name, password)) => {
                request.basic_auth(name, password.as_ref().map(Secret::expose))
            }
            Some(Login::Bearer(token)) => request.bearer_auth(token.expose()),
            None => request,
        };
        match &call.body {
            Some(body) => request
                .header("Content-Type", MEDIA_TYPE)
                .body(body.to_string()),
            None => request,
        }
    }

    fn client(&self) -> Result<Client> {
        if let Some(client) = self.client.load().as_deref().and_then(PerProcess::get) {
            return Ok(client.clone());
        }
        let client = {
            // OpenSSL holds its own locks meanwhile.
            let _undisturbed = fork::undisturbed();
            self.build_client()?
        };
        let new = Arc::new(PerProcess::new(client.clone()));
        let before = self.client.swap(Some(new));
        if before.as_ref().is_some_and(|it| it.get().is_none()) {
            // Dropping the parent's client would wake tasks on a runtime whose thread is not here.
            std::mem::forget(before);
        }
        Ok(client)
    }

    fn build_client(&self) -> Result<Client> {
        let settings = &self.settings;
        let mut builder = Client::builder()
            .user_agent(concat!("carbon-events/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .tcp_keepalive(Duration::from_secs(30));
        if self.addresses.iter().all(Address::is_loopback) {
            builder = builder.no_proxy();
        }
        if !settings.reject_unauthorized {
            builder = builder
                .danger_accept_invalid_certs(true)
                .danger_accept_invalid_hostnames(true);
        }
        let authorities = text_or_file(
            ("ssl_ca_pem", settings.ssl_ca_pem.as_deref()),
            ("ssl_ca_location", settings.ssl_ca_location.as_deref()),
        )?;
        if let Some((setting, pem)) = authorities {
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|error| explained(setting, &pem, &error.to_string()))?;
            if certificates.is_empty() {
                return Err(explained(setting, &pem, "it has no certificate"));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let certificate = text_or_file(
            (
                "ssl_certificate_pem",
                settings.ssl_certificate_pem.as_deref(),
            ),
            (
                "ssl_certificate_location",
                settings.ssl_certificate_location.as_deref(),
            ),
        )?;
        let key = text_or_file(
            (
                "ssl_key_pem",
                settings.ssl_key_pem.as_ref().map(Secret::expose),
            ),
            ("ssl_key_location", settings.ssl_key_location.as_deref()),
        )?;
        match (certificate, key) {
            (Some((setting, certificate)), Some((key_setting, key))) => {
                let identity = Identity::from_pkcs8_pem(&certificate, &key).map_err(|error| {
                    let of_the_key = String::from_utf8_lossy(&key).contains("ENCRYPTED")
                        || String::from_utf8_lossy(&key).contains("-----\\n");
                    let (setting, pem) = match of_the_key {
                        true => (key_setting, &key),
                        false => (setting, &certificate),
                    };
                    explained(setting, pem, &error.to_string())
                })?;
                builder = builder.identity(identity);
            }
            (None, None) => {}
            (Some((setting, _)), None) | (None, Some((setting, _))) => {
                let message = format!("{setting} is set alone: set both certificate and key");
                return Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", setting));
            }
        }
        builder.build().map_err(|error| {
            let message = format!("cannot create an HTTP client for the schema registry: {error}");
            Error::new(ErrorKind::InvalidConfig, message)
        })
    }

    /// Doubles from `backoff` up to 20 times itself; up to half of it is random, so that services do not
    /// retry at the same time.
    fn wait_before_retry(&self, round: u32) -> Duration {
        let backoff = self.settings.backoff;
        let wait = backoff
            .saturating_mul(1 << round.min(16))
            .min(backoff.saturating_mul(20));
        // A fresh RandomState is seeded by the operating system: random enough to spread retries.
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        wait.mul_f64(0.5 + random / 2.0)
    }
}

impl Address {
    fn new(given: &str, settings: &RegistrySettings) -> Result<Self> {
        let shown = without_credentials(given);
        let refused = |why: String| {
            let message = format!("the schema registry's address {why}");
            Error::new(ErrorKind::InvalidConfig, message)
                .with("setting", "urls")
                .with("url", &shown)
        };
        if has_unescaped_login(given) {
            return Err(refused(
                "has an @ after its host: escape / ? # and @ in a password as %2F %3F %23 %40, or set \
                 username and password"
                    .to_owned(),
            ));
        }
        let mut url =
            Url::parse(given).map_err(|error| refused(format!("is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(refused(
                "must start with http:// or https:// and have a host".to_owned(),
            ));
        }
        let login = match (&settings.bearer_token, &settings.username) {
            (Some(token), _) => Some(Login::Bearer(token.clone())),
            (None, Some(name)) => Some(Login::Basic(name.clone(), settings.password.clone())),
            (None, None) if url.username().is_empty() => None,
            (None, None) => {
                let password = url
                    .password()
                    .map(|password| percent_decoded(password).into());
                Some(Login::Basic(percent_decoded(url.username()), password))
            }
        };
        // Fails only for URLs without a host, which are refused above.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.set_query(None);
        url.set_fragment(None);
        Ok(Address { url, shown, login })
    }

    fn is_host_of(&self, url: &Url) -> bool {
        let place = |url: &Url| {
            let host = url.host_str().map(str::to_owned);
            (url.scheme() == "https", host, url.port_or_known_default())
        };
        place(&self.url) == place(url)
    }

    fn is_loopback(&self) -> bool {
        matches!(
            self.url.host_str(),
            Some("localhost" | "127.0.0.1" | "[::1]")
        )
    }
}

/// PEM text, or a file's content, with the setting that it came from.
fn text_or_file(
    (text_setting, text): (&'static str, Option<&str>),
    (file_setting, file): (&'static str, Option<&str>),
) -> Result<Option<(&'static str, Vec<u8>)>> {
    if let Some(text) = text {
        return Ok(Some((text_setting, text.as_bytes().to_vec())));
    }
    let Some(path) = file else { return Ok(None) };
    std::fs::read(path)
        .map(|content| Some((file_setting, content)))
        .map_err(|error| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("{file_setting} cannot be read: {error}"),
            )
            .with("setting", file_setting)
            .with("path", path)
            .because(error)
        })
}

/// The error of rejected PEM.
fn explained(setting: &'static str, pem: &[u8], why: &str) -> Error {
    let text = String::from_utf8_lossy(pem);
    if text.contains("-----\\n") {
        return no_pem(setting, LINE_BREAKS);
    }
    if text.contains("ENCRYPTED") {
        let why = "the key is encrypted: decrypt it (`openssl pkcs8 -topk8 -nocrypt -in KEY`)";
        return no_pem(setting, why);
    }
    no_pem(setting, why)
}

fn no_pem(setting: &'static str, why: &str) -> Error {
    let message = format!("{setting} contains no usable PEM: {why}");
    Error::new(ErrorKind::InvalidConfig, message).with("setting", setting)
}

/// Text whose `%xx` are decoded, as in a URL.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let decoded = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(answer::no_answer)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(answer::too_large(MAX_ANSWER_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_the_address() {
        let settings = RegistrySettings::new("https://me%40corp:p%2Fw@registry:8081/apis/v7/?x=1");
        let http = Http::new(&settings, Metrics::new()).unwrap();
        let address = &http.addresses[0];
        assert_eq!(address.url.as_str(), "https://registry:8081/apis/v7/");
        assert_eq!(address.shown, "https://registry:8081/apis/v7/");
        let Some(Login::Basic(name, Some(password))) = &address.login else {
            panic!("no login")
        };
        assert_eq!((name.as_str(), password.expose()), ("me@corp", "p/w"));
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_its_password() {
        for url in [
            "registry:8081",
            "ftp://u:s3cret@registry",
            "http://",
            "http://u:s3cret@h:port",
            "http://u:s3cret/x@h:8081",
            "http://u:8081/s3cret@h:8081",
            "http://u:1?s3cret@h:8081",
            "http://u:1#s3cret@h:8081",
        ] {
            let error = Http::new(&RegistrySettings::new(url), Metrics::new())
                .err()
                .unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
            assert_eq!(error.get("setting"), Some("urls"), "{url}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let none = Http::new(&RegistrySettings::default(), Metrics::new())
            .err()
            .unwrap();
        assert!(
            none.message().contains("KAFKA_SCHEMA_REGISTRY_URL"),
            "{none}"
        );
    }

    #[test]
    fn a_subject_is_one_segment_of_the_path_whatever_it_holds() {
        let settings = RegistrySettings::new("http://r/base");
        let http = Http::new(&settings, Metrics::new()).unwrap();
        let call =
            Call::get(&["subjects", "a/b ?#%-value", "versions"]).query(&[("deleted", "true")]);
        assert_eq!(
            call.url(&http.addresses[0]).as_str(),
            "http://r/base/subjects/a%2Fb%20%3F%23%25-value/versions?deleted=true"
        );
    }

    #[test]
    fn waits_grow_within_bounds() {
        let http = Http::new(&RegistrySettings::new("http://r"), Metrics::new()).unwrap();
        for (round, most) in [(0, 100), (1, 200), (3, 800), (5, 2_000), (60, 2_000)] {
            let wait = http.wait_before_retry(round).as_millis();
            assert!(wait >= most / 2 && wait <= most, "round {round}: {wait} ms");
        }
    }

    #[test]
    fn certificates_are_read_on_the_first_call_only() {
        let settings = RegistrySettings::new("https://r").ssl_ca_location("/nowhere/ca.pem");
        let http = Http::new(&settings, Metrics::new()).unwrap();
        let error = http.client().unwrap_err();
        assert_eq!(error.get("setting"), Some("ssl_ca_location"));
        let half = RegistrySettings::new("https://r").ssl_key_pem("KEY");
        let error = Http::new(&half, Metrics::new())
            .unwrap()
            .client()
            .unwrap_err();
        assert_eq!(error.get("setting"), Some("ssl_key_pem"));
        assert!(!error.to_string().contains("KEY\""), "{error}");
    }
}
